package auth_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func ban(t *testing.T, w *world, id uint64) {
	t.Helper()
	if err := auth.ChangeUser(t.Context(), w.store, id, func(u *auth.User) { u.Ban = new(auth.Ban) }); err != nil {
		t.Fatal(err)
	}
}

func TestSessionIDHasOneSpelling(t *testing.T) {
	id := auth.NewSessionID()
	if got, ok := auth.ParseSessionID(id.String()); !ok || got != id {
		t.Errorf("%v came back as %v, %v", id, got, ok)
	}
	zero := auth.SessionID{}.String()
	for _, text := range []string{"", zero + "A", zero[:21], zero[:21] + "B", zero[:21] + "=", zero[:20] + "\n\n", zero[:21] + "é"} {
		if _, ok := auth.ParseSessionID(text); ok {
			t.Errorf("%q was read", text)
		}
	}
	if err := json.Unmarshal([]byte(`"x"`), &id); err == nil {
		t.Error("a bad id was read from JSON")
	}
}

func TestErrorsAreMatchedByCode(t *testing.T) {
	err := error(auth.Refuse(auth.CodeNotFound).Because("There is none."))
	if !errors.Is(err, auth.Refuse(auth.CodeNotFound)) || errors.Is(err, auth.Refuse(auth.CodeInternal)) || err.Error() != "not_found: There is none." {
		t.Errorf("got %v", err)
	}
	fault := auth.AsError(errors.New("surprise"))
	if fault.Code != auth.CodeInternal || fault.RetryAfter == 0 || errors.Unwrap(fault) == nil || fault.Error() != "internal_error: surprise" {
		t.Errorf("got %v", fault)
	}
}

// What an attacker or a broken disk has written is refused, never a panic, and
// what was written comes back as it was.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{"", "\x01", "\x01{}", "\x02{}", "\x01[]", "\x01{\"session_id\":\"x\"}", "\x01{\"generation\":-1}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var v auth.Session
		if auth.Decode(value, &v) == nil {
			again, err := auth.Encode(v)
			var back auth.Session
			if err != nil || auth.Decode(again, &back) != nil || !reflect.DeepEqual(v, back) {
				if v.CreatedAt.Location() == time.UTC {
					t.Errorf("%q came back as %+v, was %+v", value, back, v)
				}
			}
		}
		if touch, err := auth.DecodeTouch(value); err == nil && string(touch.Encode()) != string(value) {
			t.Errorf("%q came back as %q", value, touch.Encode())
		}
	})
}
