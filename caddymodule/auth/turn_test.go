package auth_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// teller is a store of which only the news matter.
type teller struct{ auth.Listener }

func (s *teller) Follow(_ context.Context, _ []string, l auth.Listener) error {
	s.Listener = l
	l.TrustUntil(time.Now().AddDate(100, 0, 0))
	return nil
}

// A table that has turned to another store must not hear of the former one any
// more: its last promise would run out, and everybody get 503 for ever.
func TestTurnedTablesHearOneStore(t *testing.T) {
	w := newWorld(t)
	g := w.signIn(alice, "phone")
	past := time.Now().AddDate(-100, 0, 0)
	first, second := new(teller), new(teller)
	if _, err := w.Live.Turn(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	wants(t, w.request(g), "")
	first.TrustUntil(past)
	if err := w.request(g); !errors.Is(err, auth.ErrUnavailable) {
		t.Fatalf("a store that is not heard is believed: %v", err)
	}
	back, err := w.Live.Turn(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	first.TrustUntil(past)
	wants(t, w.request(g), "")
	back()
	second.TrustUntil(past)
	first.TrustUntil(time.Now().AddDate(100, 0, 0))
	wants(t, w.request(g), "")
	if _, err := w.Live.Turn(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	first.TrustUntil(past)
	wants(t, w.request(g), "")
	if _, err := w.Live.Turn(t.Context(), deaf{}); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("turned to a store that cannot be heard: %v", err)
	}
	wants(t, w.request(g), "")
}
