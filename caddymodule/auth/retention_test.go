package auth_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// expiries are when records of a kind are forgotten, by what the store holds.
func (w *world) expiries(kind string) (all []time.Time) {
	w.t.Helper()
	err := w.store.Store.(auth.Snapshotter).Snapshot(context.Background(), func(r auth.Write) error {
		if strings.HasPrefix(r.Key, kind+"/") {
			all = append(all, r.Expires.UTC())
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func TestRecordsAreKeptAsLongAsConfigured(t *testing.T) {
	const day = 24 * time.Hour
	w := newWorld(t, func(s *auth.Settings) { s.SessionRetention, s.DeviceRetention = 2*day, 3*day })
	w.Live.Retain(2 * day)
	g := w.signIn(alice, "phone")
	w.flush()
	now, end := w.clock.Now(), w.clock.Now().Add(30*day)
	for kind, want := range map[string]time.Time{"session": end.Add(2 * day), "touch": end.Add(2 * day), "device": now.Add(3 * day)} {
		if got := w.expiries(kind); len(got) != 1 || !got[0].Equal(want) {
			t.Errorf("%s: kept until %v, want %v", kind, got, want)
		}
	}
	// Another setting holds for what is written from then on.
	w.Settings.SessionRetention = day
	wants(t, w.Logout(t.Context(), auth.Proof{SessionID: g.Identity.SessionID}, auth.ScopeSession), "")
	if got := w.expiries("session"); !got[0].Equal(now.Add(day)) {
		t.Errorf("an ended session is kept until %v, want %v", got, now.Add(day))
	}
}
