package admin

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// What is taken means one thing to every reader of JSON.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"phone":"+46701234567"}`, `{"phone":"a","phone":"b"}`, `{"PHONE":"a"}`, `{"phone":"a"}{}`, `[]`, `null`, "",
		`{"phone":null,"reason":"x"}`, "{\"\u017f\":1}", `{"phone":{"phone":1,"phone":2}}`, "{\"phone\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var in struct {
			Phone  string `json:"phone"`
			Reason string `json:"reason"`
		}
		if parse(body, &in) != nil {
			return
		}
		var members map[string]any
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatalf("took %q: %v", body, err)
		}
		for name, value := range members {
			text, _ := value.(string)
			if name == "phone" && text != in.Phone || name == "reason" && text != in.Reason || name != "phone" && name != "reason" {
				t.Fatalf("took %q as %+v", body, in)
			}
		}
	})
}

func TestOperatorOf(t *testing.T) {
	for _, row := range []struct{ name, from, by, want string }{
		{"nobody, from a socket", "@", "", "unix"},
		{"nobody, from an address", "[::1]:4711", "", "::1"},
		{"a name", "127.0.0.1:4711", "anna", "anna@127.0.0.1"},
		{"a name that steers a terminal", "@", "an\x1b[2Jna\u202e", "an[2Jna@unix"},
		{"a name that is too long", "@", strings.Repeat("x", 100), strings.Repeat("x", 64) + "@unix"},
		{"a name of blanks", "@", "  ", "unix"},
	} {
		r := &http.Request{RemoteAddr: row.from, Header: http.Header{"Sidegate-By": {row.by}}}
		if got := operatorOf(r); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}
