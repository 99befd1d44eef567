package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// call is one request to a route.
type call struct {
	*http.Request
	writer   http.ResponseWriter
	operator auth.Operator
	asked    bool // the query has been read
}

// NameHeader is where a client may say who acts.
const NameHeader = "Sidegate-By"

// operatorOf says who acts: the name that the client gives, which nobody has
// checked, and where the request came from, which is sure.
func operatorOf(r *http.Request) string {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = "unix" // a socket's other end has no address
	}
	name := label(r.Header.Get(NameHeader), 64)
	if name == "" {
		return from
	}
	return name + "@" + from
}

// label makes a text one that can stand in a log: printable ASCII, cut.
func label(text string, most int) string {
	text = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, text)
	return strings.TrimSpace(text[:min(most, len(text))])
}

// maxBody is how many bytes a request may have.
const maxBody = 16 << 10

// read reads the body, which must be one JSON object with no member but v's.
// Every route that changes something wants JSON: a form in a page of an old
// browser cannot send it.
func (c *call) read(v any) error {
	if err := c.plain(); err != nil {
		return err
	}
	media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return auth.Refuse(codeUnsupportedMediaType)
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.writer, c.Body, maxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return auth.Refuse(codeBodyTooLarge)
	}
	if err != nil {
		return invalid("The request body could not be read.")
	}
	return parse(body, v)
}

// parse is strict: encoding/json alone would take "PHONE" for "phone", the last
// of two, and what follows the object.
func parse(body []byte, v any) error {
	if err := checkNames(body); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return invalid("The request body does not fit this route: " + strings.TrimPrefix(err.Error(), "json: ") + ".")
	}
	return nil
}

// checkNames holds the body to one object whose names are given once, in small
// letters.
func checkNames(body []byte) error {
	if !utf8.Valid(body) {
		return invalid("The request body is not UTF-8.")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return invalid("The request body must be a JSON object; without members it is {}.")
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		name, ok := token.(string)
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			return invalid("The request body is not valid JSON.")
		}
		if seen[name] || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return invalid(fmt.Sprintf("The member %q is given twice, or none of this route.", name))
		}
		seen[name] = true
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return invalid("The request body is not valid JSON.")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return invalid("The request body has something after the JSON object.")
	}
	return nil
}

// query reads the parameters, of which there must be none but these, each once.
func (c *call) query(known ...string) (url.Values, error) {
	c.asked = true
	values, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, invalid("The query cannot be read.")
	}
	for name, given := range values {
		if len(known) == 0 {
			return nil, invalid("This route takes no parameters.")
		}
		if !slices.Contains(known, name) || len(given) != 1 {
			return nil, invalid(fmt.Sprintf("The parameter %q is unknown here or given twice; known: %s.", name, strings.Join(known, ", ")))
		}
	}
	return values, nil
}

// plain refuses parameters that no route has asked for: nothing may be done that
// a misspelt one was to keep from being done.
func (c *call) plain() error {
	if c.asked {
		return nil
	}
	_, err := c.query()
	return err
}

// plainly is an act of a route that takes neither body nor parameters.
func plainly(do act) act {
	return func(a *Admin, c *call) (any, error) {
		if err := c.plain(); err != nil {
			return nil, err
		}
		return do(a, c)
	}
}

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// limit reads how many entries a page may have.
func limit(query url.Values) (int, error) {
	text := query.Get("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, invalid(fmt.Sprintf("limit must be a number from 1 to %d.", maxLimit))
	}
	return n, nil
}

// userID reads an id, in the one spelling that it has.
func userID(text string) (uint64, error) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil || id == 0 || strconv.FormatUint(id, 10) != text {
		return 0, invalid(fmt.Sprintf("%q is no user's id: those are whole numbers.", label(text, 32)))
	}
	return id, nil
}

// about reads which user the path names, and the body.
func (c *call) about(v any) (id uint64, err error) {
	if id, err = c.id(); err != nil {
		return 0, err
	}
	return id, c.read(v)
}

// id is the user that the path names.
func (c *call) id() (uint64, error) { return userID(c.PathValue("id")) }

func invalid(detail string) error { return auth.Refuse(auth.CodeInvalidRequest).Because(detail) }
