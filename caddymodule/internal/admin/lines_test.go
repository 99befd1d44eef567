package admin

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// plainPhone stands for the rules of numbers, which are another room's.
func plainPhone(text string) (string, error) {
	digits, ok := strings.CutPrefix(strings.ReplaceAll(text, " ", ""), "+")
	if !ok || len(digits) < 7 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" || digits[0] == '0' {
		return "", errors.New("no number")
	}
	return "+" + digits, nil
}

// all reads a file to its end.
func all(text []byte, isCSV bool) (users []auth.Newcomer, err error) {
	l := &lines{from: bufio.NewReaderSize(bytes.NewReader(text), maxLine), phone: plainPhone, now: time.Unix(0, 0)}
	if isCSV {
		if err := l.head(); err != nil {
			return nil, err
		}
	}
	for {
		batch, err := l.batch()
		users = append(users, batch...)
		if errors.Is(err, io.EOF) {
			return users, nil
		}
		if err != nil {
			return users, err
		}
	}
}

func TestLinesOfAFile(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, row := range []struct {
		name, text string
		csv        bool
		want       []string // line, then a code or the number
	}{
		{"a line without its end", `{"phone":"+46701234567"}`, false, []string{"1 +46701234567"}},
		{"empty lines count and say nothing", "\n\r\n{\"phone\":\"+46701234567\"}\n \n", false, []string{"3 +46701234567"}},
		{"columns in any order, in quotes", "user_roles,phone\n\"a,b\",\"+46 70 1234567\"\n", true, []string{"2 +46701234567"}},
		{"a line that is too long is one line", "phone\n" + long + long + "\n+46701234567\n", true, []string{"2 line_invalid", "3 +46701234567"}},
		{"a quote that no line ends", "phone\n\"+46701234567\n+46701234568\n", true, []string{"2 line_invalid", "3 +46701234568"}},
		{"a name twice", `{"phone":"+46701234567","phone":"+46701234568"}`, false, []string{"1 line_invalid"}},
		{"more behind the object", `{"phone":"+46701234567"}{}`, false, []string{"1 line_invalid"}},
		{"a list", `["+46701234567"]`, false, []string{"1 line_invalid"}},
		{"an id in words", `{"phone":"+46701234567","auth_user_id":"1"}`, false, []string{"1 id_invalid"}},
		{"an id of zero", "phone,auth_user_id\n+46701234567,0\n", true, []string{"2 id_invalid"}},
		{"everything wrong", `{"phone":"1","auth_user_id":-1,"created_at":"soon"}`, false, []string{"1 phone_invalid id_invalid date_invalid"}},
	} {
		users, err := all([]byte(row.text), row.csv)
		var got []string
		for _, n := range users {
			said := []string{n.User.Phone}
			if len(n.Faults) > 0 {
				said = nil
			}
			for _, f := range n.Faults {
				said = append(said, string(f.Code))
			}
			got = append(got, string(rune('0'+n.Line))+" "+strings.Join(said, " "))
		}
		if err != nil || strings.Join(got, "; ") != strings.Join(row.want, "; ") {
			t.Errorf("%s: got %q, want %q: %v", row.name, got, row.want, err)
		}
	}
}

// Whatever a file has: each line is a user with a number, or has a fault.
func FuzzLines(f *testing.F) {
	f.Add([]byte("phone,auth_user_id\n+46701234567,7\n\"+46 70\",\"\"\"\"\n"), true)
	f.Add([]byte("\ufeffphone,user_roles,created_at,banned,user_type\r\n+46701234567,\"a, b\",2020-01-01T00:00:00Z,true,staff\r\n"), true)
	f.Add([]byte(`{"phone":"+46701234567","auth_user_id":7,"user_roles":["a"],"created_at":"2020-01-01T00:00:00+01:00","banned":true}`+"\n\n{}\n[]"), false)
	f.Add([]byte(`{"phone":"+46701234567","auth_user_id":9007199254740993}`), false)
	f.Fuzz(func(t *testing.T, text []byte, isCSV bool) {
		users, err := all(text, isCSV)
		if err != nil && !isCSV {
			t.Fatalf("a file in memory cannot be read: %v", err)
		}
		before, most := 0, bytes.Count(text, []byte("\n"))+1
		for _, n := range users {
			if n.Line <= before || n.Line > most {
				t.Fatalf("line %d comes after line %d, of %d", n.Line, before, most)
			}
			before = n.Line
			if len(n.Faults) > 0 {
				continue
			}
			if again, err := plainPhone(n.User.Phone); err != nil || again != n.User.Phone {
				t.Errorf("line %d has the number %q and no fault", n.Line, n.User.Phone)
			}
		}
	})
}
