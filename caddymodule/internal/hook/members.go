package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

var errNotOne = errors.New("the answer is not one JSON object whose members are given once, in the agreed letters")

// members reads an answer that every reader understands in the same way.
// encoding/json alone would take the last of two members, in any letter case, so
// whoever can add one to what the app writes would have the last word.
func members(answer []byte, known ...string) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(answer))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') || !utf8.Valid(answer) {
		return nil, errNotOne
	}
	found := map[string]json.RawMessage{}
	for d.More() {
		token, err := d.Token()
		name, _ := token.(string)
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return nil, errNotOne
		}
		if _, twice := found[name]; twice || misspelt(name, known) {
			return nil, errNotOne
		}
		found[name] = value
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, errNotOne
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotOne
	}
	return found, nil
}

// misspelt reports a name that some readers take for a known one.
func misspelt(name string, known []string) bool {
	for _, k := range known {
		if name != k && strings.EqualFold(name, k) {
			return true
		}
	}
	return false
}
