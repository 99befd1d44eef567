package auth_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestBlocks(t *testing.T) {
	w := newWorld(t, func(s *auth.Settings) {
		s.OTP.TestNumbers = []auth.TestNumber{{Phone: "+46700000000", Code: "424242", Until: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}}
	})
	o := w.As("test")
	g := w.signIn(alice, "phone")
	id, code := w.start(alice)
	for _, b := range []auth.Block{{Prefix: "+4670"}, {Country: "NO", Reason: "pumping"}} {
		wants(t, o.Block(t.Context(), b), "")
	}
	for _, row := range []struct {
		name, phone, country string
		want                 auth.Code
	}{
		{"a user's number", alice, "SE", auth.CodePhoneNotSupported},
		{"nobody's number of the prefix", "+46709999999", "SE", auth.CodePhoneNotSupported},
		{"another prefix", "+46730000000", "SE", ""},
		{"the country", "+4790000000", "NO", auth.CodePhoneNotSupported},
		{"a number of no country", "+88212345", "", ""},
		{"a test number, which gets no message", "+46700000000", "SE", ""},
	} {
		if _, err := w.Start(t.Context(), auth.StartRequest{Phone: row.phone, Country: row.country}); !is(err, row.want) {
			t.Errorf("%s: got %v", row.name, err)
		}
	}
	_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, Country: "SE", ChallengeID: id})
	wants(t, err, auth.CodePhoneNotSupported) // nor the same code again
	wants(t, w.request(g), "")
	_, err = w.verify(id, code, "phone") // what was sent before is good
	wants(t, err, "")

	all, err := o.Blocks(t.Context())
	wants(t, err, "")
	if len(all) != 2 || all[1].Reason != "pumping" || !all[1].Since.Equal(w.clock.Now()) {
		t.Errorf("got %+v", all)
	}
	wants(t, o.Unblock(t.Context(), auth.Block{Prefix: "+4670"}), "")
	wants(t, o.Unblock(t.Context(), auth.Block{Prefix: "+4670"}), auth.CodeNotFound)
	w.clock.pass(time.Hour)
	w.start(alice)
	w.restart()
	w.hear()
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: "+4790000000", Country: "NO"})
	wants(t, err, auth.CodePhoneNotSupported)
}

func is(err error, code auth.Code) bool {
	return code == "" && err == nil || errors.Is(err, auth.Refuse(code))
}

// The answer for a blocked number takes no store, so it takes as long for all.
func TestBlockedNumbersAreAlike(t *testing.T) {
	w, told := newToldWorld(t)
	w.signIn(alice, "phone")
	wants(t, w.As("test").Block(t.Context(), auth.Block{Prefix: "+4670"}), "")
	told.take()
	calls := w.store.calls
	for _, phone := range []string{alice, bob} {
		_, err := w.Start(t.Context(), auth.StartRequest{Phone: phone, Country: "SE"})
		wants(t, err, auth.CodePhoneNotSupported)
	}
	if w.store.calls != calls {
		t.Errorf("%d calls of the store", w.store.calls-calls)
	}
	if got := told.take(); len(got) != 2 || got[0] != "send_blocked blocked" {
		t.Errorf("told %q", got)
	}
}

func TestBlocksAreChecked(t *testing.T) {
	w := newWorld(t)
	o := w.As("test")
	for _, b := range []auth.Block{
		{}, {Country: "NO", Prefix: "+47"}, {Country: "no"}, {Country: "NOR"}, {Prefix: "47"}, {Prefix: "+"}, {Prefix: "++47"},
		{Prefix: "+0"}, {Prefix: "+47x"}, {Prefix: "+1234567890123456"},
	} {
		wants(t, o.Block(t.Context(), b), auth.CodeInvalidRequest)
		wants(t, o.Unblock(t.Context(), b), auth.CodeInvalidRequest)
	}
	var err error
	n := 0
	for ; n < 3000 && err == nil; n++ {
		err = o.Block(t.Context(), auth.Block{Prefix: fmt.Sprintf("+%d", 1e14+n), Reason: "something that takes some room in the record of all blocks"})
	}
	wants(t, err, auth.CodeInvalidRequest)
	if n < 300 {
		t.Errorf("only %d blocks", n)
	}
}

// What was read before a block was added does not take it away again.
func TestLateHearingTakesNothingAway(t *testing.T) {
	w := newWorld(t)
	wants(t, w.As("test").Block(t.Context(), auth.Block{Country: "NO"}), "")
	store := &troubledStore{Store: w.store}
	store.arm(0, trouble{})
	old, err := w.store.Get(t.Context(), "era", "blocks")
	wants(t, err, "")
	wants(t, w.As("test").Block(t.Context(), auth.Block{Country: "SE"}), "")
	wants(t, w.Live.Hear(t.Context(), staleStore{w.store, old}), "")
	_, err = w.Start(t.Context(), auth.StartRequest{Phone: alice, Country: "SE"})
	wants(t, err, auth.CodePhoneNotSupported)
}

func TestUnlock(t *testing.T) {
	w, told := newToldWorld(t, func(s *auth.Settings) {
		s.Limits.PhoneFailures = []auth.Limit{{N: 1000, Window: time.Hour}}
		s.OTP.Attempts = 10
		s.OTP.ResendAfter = 0
	})
	for wrong := 0; wrong < 100; {
		id, code := w.start(alice)
		for range 10 {
			if _, err := w.verify(id, differs(code), "d"); is(err, auth.CodeTooManyFailures) {
				w.clock.pass(time.Hour)
				break
			}
			wrong++
		}
	}
	w.clock.pass(2 * time.Hour)
	id, code := w.start(alice)
	_, err := w.verify(id, code, "d")
	wants(t, err, auth.CodeTooManyFailures) // the stop at a hundred
	told.take()
	wants(t, w.As("test").Unlock(t.Context(), alice), "")
	if got := told.take(); len(got) != 1 || got[0] != "user_unlocked" {
		t.Errorf("told %q", got)
	}
	_, err = w.verify(id, code, "d")
	wants(t, err, "")
}
