package admin

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// maxLine is how long a line of a file of users may be.
const maxLine = 16 << 10

// lines reads a file of users, one line at a time.
type lines struct {
	from  *bufio.Reader
	n     int      // of the line that was read last
	names []string // the columns of a CSV file; nil: the lines are JSON
	phone func(text string) (string, error)
	now   time.Time // since when those are banned who are
}

// columns are what a line may say of a user.
var columns = []string{"phone", "auth_user_id", "user_type", "user_roles", "created_at", "banned"}

// next gives the next line, or io.EOF. Empty lines are passed over.
func (l *lines) next() (auth.Newcomer, error) {
	for {
		text, long, err := l.line()
		if err != nil {
			return auth.Newcomer{}, err
		}
		n := auth.Newcomer{Line: l.n}
		switch {
		case long:
			n.Faults = fault(l.n, auth.CodeLineInvalid, "The line is longer than 16 KiB.")
		case len(bytes.TrimSpace(text)) == 0:
			continue
		case l.names != nil:
			l.readCSV(string(text), &n)
		default:
			l.readJSON(text, &n)
		}
		return n, nil
	}
}

// line reads up to a line's end. One that is too long is read to its end, and
// not kept.
func (l *lines) line() (text []byte, long bool, err error) {
	for {
		part, err := l.from.ReadSlice('\n')
		if !long {
			text = append(text, part...)
		}
		long = long || len(text) > maxLine
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(text) == 0:
			return nil, false, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, false, invalid("The file could not be read to its end.")
		}
		l.n++
		return bytes.TrimRight(text, "\r\n"), long, nil
	}
}

// head reads the first line of a CSV file, which names the columns.
func (l *lines) head() error {
	text, long, err := l.line()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	names, err := fields(strings.TrimPrefix(string(text), "\ufeff"))
	if err != nil || long || !slices.Contains(names, "phone") {
		return invalid("The first line of a CSV file names the columns, phone among them.")
	}
	for i, name := range names {
		if !slices.Contains(columns, name) || slices.Contains(names[:i], name) {
			return invalid(fmt.Sprintf("The column %q is unknown or given twice; known: %s.", label(name, 64), strings.Join(columns, ", ")))
		}
	}
	l.names = names
	return nil
}

func fault(line int, code auth.Code, detail string) []auth.Conflict {
	return []auth.Conflict{{Line: line, Code: code, Detail: detail}}
}

// row is a line as it is written.
type row struct {
	Phone     string          `json:"phone"`
	ID        json.RawMessage `json:"auth_user_id"`
	Type      string          `json:"user_type"`
	Roles     []string        `json:"user_roles"`
	CreatedAt string          `json:"created_at"`
	Banned    bool            `json:"banned"`
}

func (l *lines) readJSON(text []byte, n *auth.Newcomer) {
	var r row
	if err := parse(text, &r); err != nil {
		n.Faults = fault(n.Line, auth.CodeLineInvalid, "The line is no JSON object with the members "+strings.Join(columns, ", ")+".")
		return
	}
	if string(r.ID) == "null" {
		r.ID = nil
	}
	l.fill(r, n)
}

func (l *lines) readCSV(text string, n *auth.Newcomer) {
	values, err := fields(text)
	if err != nil || len(values) != len(l.names) {
		n.Faults = fault(n.Line, auth.CodeLineInvalid, "The line has another number of columns than the first one, or is no CSV.")
		return
	}
	var r row
	for i, value := range values {
		switch l.names[i] {
		case "phone":
			r.Phone = value
		case "auth_user_id":
			r.ID = []byte(value)
		case "user_type":
			r.Type = value
		case "user_roles":
			r.Roles = roles(value)
		case "created_at":
			r.CreatedAt = value
		case "banned":
			if r.Banned = value == "true"; !slices.Contains([]string{"true", "false", ""}, value) {
				n.Faults = fault(n.Line, auth.CodeLineInvalid, "banned is true or false.")
				return
			}
		}
	}
	l.fill(r, n)
}

// fields splits a line of CSV (RFC 4180); no field goes over its end.
func fields(text string) ([]string, error) {
	if !strings.Contains(text, `"`) {
		return strings.Split(text, ","), nil
	}
	return csv.NewReader(strings.NewReader(text)).Read()
}

// roles stand in one field, with commas or spaces between them. An empty field
// says nothing of them.
func roles(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// fill reads the values of a line.
func (l *lines) fill(r row, n *auth.Newcomer) {
	u := &n.User
	u.Type, u.Roles = r.Type, r.Roles
	var err error
	if u.Phone, err = l.phone(r.Phone); err != nil {
		u.Phone = ""
		n.Faults = append(n.Faults, fault(n.Line, auth.CodePhoneInvalid, "There is no number, or no valid one: write it with a plus and the country's code.")...)
	}
	if len(r.ID) > 0 {
		if u.ID, err = strconv.ParseUint(string(r.ID), 10, 64); err != nil || u.ID == 0 || strconv.FormatUint(u.ID, 10) != string(r.ID) {
			u.ID = 0
			n.Faults = append(n.Faults, fault(n.Line, auth.CodeIDInvalid, "An id is a whole number below 2^52, in digits alone.")...)
		}
	}
	if r.CreatedAt != "" {
		if u.CreatedAt, err = time.Parse(time.RFC3339, r.CreatedAt); err != nil {
			n.Faults = append(n.Faults, fault(n.Line, auth.CodeDateInvalid, "created_at is no time such as 2027-06-30T12:00:00Z.")...)
		}
	}
	if r.Banned {
		u.Ban = &auth.Ban{Reason: "imported", Since: l.now}
	}
}
