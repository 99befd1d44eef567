package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// maxBody is how many bytes a request may have.
const maxBody = 16 << 10

// fields are the members of one JSON object, read by their exact names:
// encoding/json alone would also take "CODE" for "code", and the last of two.
// The first member of a wrong type stays in err.
type fields struct {
	members map[string]json.RawMessage
	err     error
}

// readFields reads a request's body, which must be one JSON object. Members
// that a route does not know are ignored.
func readFields(w http.ResponseWriter, r *http.Request) (*fields, error) {
	if err := checkMediaType(r.Header); err != nil {
		return nil, err
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	return parseObject(body)
}

// readOptionalFields is readFields for routes where no body means no fields.
func readOptionalFields(w http.ResponseWriter, r *http.Request) (*fields, error) {
	if len(r.Header.Values("Content-Type")) > 0 {
		if err := checkMediaType(r.Header); err != nil {
			return nil, err
		}
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return &fields{}, nil
	}
	if err := checkMediaType(r.Header); err != nil {
		return nil, err
	}
	return parseObject(body)
}

// checkMediaType wants JSON in UTF-8 and says no to everything a plain HTML
// form can send.
func checkMediaType(h http.Header) error {
	refused := auth.Refuse(codeUnsupportedMediaType)
	lines := h.Values("Content-Type")
	if len(lines) != 1 || !plainCoding(h.Values("Content-Encoding")) {
		return refused
	}
	media, params, err := mime.ParseMediaType(lines[0])
	if err != nil || media != "application/json" {
		return refused
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return refused
		}
	}
	return nil
}

func plainCoding(lines []string) bool {
	return len(lines) == 0 || len(lines) == 1 && strings.EqualFold(lines[0], "identity")
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, auth.Refuse(codeBodyTooLarge)
	}
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, auth.Refuse(codeBodyTooLarge)
	}
	if err != nil {
		return nil, invalid("The request body could not be read.")
	}
	return body, nil
}

// parseObject reads one JSON object and nothing after it. A member given twice
// is refused, because two readers could choose differently.
func parseObject(body []byte) (*fields, error) {
	if !utf8.Valid(body) {
		return nil, invalid("The request body is not UTF-8.")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, invalid("The request body must be a JSON object.")
	}
	members := make(map[string]json.RawMessage)
	for dec.More() {
		key, err := dec.Token()
		name, ok := key.(string)
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			return nil, invalid("The request body is not valid JSON.")
		}
		if _, twice := members[name]; twice {
			return nil, invalid("A member of the request body is given twice.")
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, invalid("The request body is not valid JSON.")
	}
	if _, err := dec.Token(); err != io.EOF { //nolint:errorlint // the documented bare value
		return nil, invalid("The request body has something after the JSON object.")
	}
	return &fields{members: members}, nil
}

// text is a string member; empty when it is absent or null.
func (f *fields) text(name string) string {
	value, ok := f.members[name]
	if !ok || string(value) == "null" {
		return ""
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		f.fail(name + " must be a string.")
	}
	return text
}

// required is a string member that must be there.
func (f *fields) required(name string) string {
	text := f.text(name)
	if text == "" {
		f.fail(name + " is required.")
	}
	return text
}

// flag is a member that is true or false; false when it is absent or null.
func (f *fields) flag(name string) (on bool) {
	value, ok := f.members[name]
	if ok && json.Unmarshal(value, &on) != nil {
		f.fail(name + " must be true or false.")
	}
	return on
}

// instant is a time member; zero when it is absent.
func (f *fields) instant(name string) time.Time {
	text := f.text(name)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		f.fail(name + " must be a time as in RFC 3339.")
	}
	return at.UTC()
}

// object is an object member; without members when it is absent or null.
func (f *fields) object(name string) *fields {
	value, ok := f.members[name]
	if !ok || string(value) == "null" {
		return &fields{}
	}
	inner, err := parseObject(value)
	if err != nil {
		f.fail(name + " must be an object without repeated members.")
		return &fields{}
	}
	return inner
}

func (f *fields) fail(detail string) {
	if f.err == nil {
		f.err = invalid(detail)
	}
}

func invalid(detail string) error { return auth.Refuse(auth.CodeInvalidRequest).Because(detail) }
