package hook

import (
	"encoding/json"
	"testing"
)

var answers = map[string]string{
	`{"action":"allow"}`: "allow",
	"\n{ \"note\": {\"action\": \"deny\"}, \"action\" : \"allow\" }\n": "allow",
	`{"action":"\u0061llow"}`:                  "allow",
	`{"action":"allow","action":"deny"}`:       "",
	`{"action":"deny","action":"allow"}`:       "",
	`{"action":"deny","Action":"allow"}`:       "",
	`{"ACTION":"allow"}`:                       "",
	`{"action":"allow"}{"action":"deny"}`:      "",
	`{"action":"allow"} x`:                     "",
	`{"action":"allow"`:                        "",
	`{"a":1,"action":"allow","a":2}`:           "",
	`{"act\u0131on":"deny","action":"allow"}`:  "allow", // no reader takes a dotless i for an i
	"{\"action\":\"allow\",\"note\":\"\xff\"}": "",
	`{"action":["allow"]}`:                     "",
	`{"action":null}`:                          "",
	`{"action":""}`:                            "",
	`["action","allow"]`:                       "",
	`"allow"`:                                  "",
	`allow`:                                    "",
	`{}`:                                       "",
	``:                                         "",
	`{"action":"allow",}`:                      "",
	`{"action" "allow"}`:                       "",
}

// Attack: an answer that a proxy or a log reads as deny, and we as allow.
func TestAmbiguousAnswersAreNone(t *testing.T) {
	for answer, want := range answers {
		if got, err := action([]byte(answer)); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v; want %q", answer, got, err, want)
		}
	}
}

// What is taken is what every reader of JSON finds there.
func FuzzAction(f *testing.F) {
	for answer := range answers {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		got, err := action(answer)
		if err != nil {
			if got != "" {
				t.Errorf("%q: %q with %v", answer, got, err)
			}
			return
		}
		var members map[string]any
		if err := json.Unmarshal(answer, &members); err != nil || members["action"] != got || got == "" {
			t.Errorf("%q: took %q, encoding/json reads %v, %v", answer, got, members["action"], err)
		}
	})
}
