package auth_test

import (
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestCounts(t *testing.T) {
	w := newWorld(t)
	phone, desk := w.signIn(alice, "phone"), w.signIn(alice, "desk")
	wants(t, w.Live.Flush(t.Context(), w.store), "")
	before := w.Live.Counts()
	for range 10 {
		w.clock.pass(time.Second)
		wants(t, w.request(phone), "")
		wants(t, w.request(desk), "")
	}
	_, stop := w.Watch(phone.Identity.SessionID)
	w.store.failAfter(0)
	if w.Live.Flush(t.Context(), w.store) == nil {
		t.Error("a store that fails has taken touches")
	}
	w.store.repair()
	wants(t, w.Live.Flush(t.Context(), w.store), "")
	got := w.Live.Counts()
	want := auth.Counts{Sessions: 2, Streams: 1, Touches: before.Touches + 20, Written: before.Written + 2}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	stop()
	if n := w.Live.Counts().Streams; n != 0 {
		t.Errorf("%d streams after the last", n)
	}
}
