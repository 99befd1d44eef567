package auth_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// A thief whose session an operator has ended with all others must not go on at
// a node that knows of the order and cannot read it.
func TestAnOrderThatCannotBeReadLetsNobodyPass(t *testing.T) {
	b, nodes := newNodes(t, 2)
	w := nodes[1]
	before := nodes[0].signIn(alice, "phone")
	wants(t, w.request(before), "")
	reads, failing := 0, true
	b.onReadOf("era", func() error {
		if reads++; failing && reads > 1 { // the first one is that of the order itself
			return auth.ErrUnavailable
		}
		return nil
	})
	wants(t, nodes[0].As("test").RevokeAll(t.Context()), "")
	if err := w.request(before); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	early := w.signIn(bob, "phone") // its session has begun in the era that is over
	if err := w.request(early); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("after a sign-in: got %v, want unavailable", err)
	}
	failing = false
	wants(t, w.request(before), auth.CodeSessionRevoked)
	wants(t, w.request(early), auth.CodeSessionRevoked)
	wants(t, w.request(nodes[0].signIn(alice, "phone")), "")
}

// A sign-in that was under way when all sessions were ended is over too, also
// where the order came in the middle of it.
func TestAnOrderDuringASignInOfAnotherNode(t *testing.T) {
	b, nodes := newNodes(t, 2)
	g := nodes[0].signIn(alice, "phone")
	b.whileReading("user/", func() { wants(t, nodes[0].As("test").RevokeAll(t.Context()), "") })
	during := nodes[1].signIn(alice, "tablet")
	for _, w := range nodes {
		wants(t, w.request(g), auth.CodeSessionRevoked)
		wants(t, w.request(during), auth.CodeSessionRevoked)
	}
}

// Orders are read as soon as they are told, and not at the next round.
func TestOrdersAreHeardAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, nodes := newNodes(t, 2)
		w := nodes[1]
		g := nodes[0].signIn(alice, "phone")
		wants(t, w.request(g), "")
		ctx, stop := context.WithCancel(t.Context())
		kept := make(chan struct{})
		go func() {
			defer close(kept)
			w.Live.Keep(ctx, b, time.Hour, func(err error) { t.Error(err) })
		}()
		operator := nodes[0].As("test")
		wants(t, operator.RevokeAll(t.Context()), "")
		wants(t, operator.Block(t.Context(), auth.Block{Country: "SE"}), "")
		synctest.Wait()
		before := b.reads.Load()
		wants(t, w.request(g), auth.CodeSessionRevoked)
		_, err := w.Start(t.Context(), auth.StartRequest{Phone: alice, Country: "SE"})
		wants(t, err, auth.CodePhoneNotSupported)
		if n := b.reads.Load() - before; n != 0 {
			t.Errorf("read %d times, although the orders were known", n)
		}
		stop()
		<-kept
	})
}

// A stream at one node ends with its session, whichever node ended it.
func TestFlightsEndWithASessionOfAnotherNode(t *testing.T) {
	for _, test := range []struct {
		name      string
		end       func(w *world, g auth.Grant) error
		want      auth.EndReason
		everybody bool
	}{
		{"logout", func(w *world, g auth.Grant) error {
			return w.Logout(t.Context(), proof(g), auth.ScopeSession)
		}, auth.EndLogout, false},
		{"a new sign-in on the device", func(w *world, _ auth.Grant) error { w.signIn(alice, "phone"); return nil }, auth.EndReplaced, false},
		{"a ban", func(w *world, g auth.Grant) error {
			_, err := w.As("test").Ban(t.Context(), g.Identity.UserID, "", time.Time{})
			return err
		}, auth.EndBanned, false},
		{"an end of which only the user's record tells", func(w *world, g auth.Grant) error {
			return auth.ChangeUser(t.Context(), w.Store, g.Identity.UserID, func(u *auth.User) { u.Sessions[0].End = auth.EndRevoked })
		}, auth.EndRevoked, false},
		{"the end of all sessions", func(w *world, _ auth.Grant) error { return w.As("test").RevokeAll(t.Context()) }, auth.EndRevoked, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, nodes := newNodes(t, 2)
			w := nodes[1]
			g := nodes[0].signIn(alice, "phone")
			wants(t, w.request(g), "")
			flight, stranger := w.board(g), w.board(nodes[0].signIn(bob, "phone"))
			w.sweep()
			if n := len(flight.cut); n != 0 {
				t.Fatal("cut while the session lives")
			}
			if err := test.end(nodes[0], g); err != nil {
				t.Fatal(err)
			}
			w.sweep()
			w.sweep() // the first one has asked the store
			if got := flight.reason(); got != test.want {
				t.Errorf("cut by %q, want %q", got, test.want)
			}
			if cut := len(stranger.cut) != 0; cut != test.everybody {
				t.Errorf("another's stream was cut: %v", cut)
			}
		})
	}
}

// A thief keeps a stream open at a node that other nodes cannot reach: it must
// not go on after its session has ended there. Nobody can say whether it has,
// so no owner is told that it did.
func TestFlightsEndWhenOtherNodesCannotBeHeard(t *testing.T) {
	b, nodes := newNodes(t, 2)
	w := nodes[1]
	g := nodes[0].signIn(alice, "phone")
	wants(t, w.request(g), "")
	flight := w.board(g)
	b.all(func(l auth.Listener) { l.TrustUntil(w.clock.Now().Add(time.Second)) })
	w.sweep()
	if len(flight.cut) != 0 {
		t.Fatal("cut while other nodes were heard")
	}
	w.clock.pass(time.Second)
	w.Sweep(t.Context())
	if len(flight.cut) != 0 {
		t.Error("cut without last words")
	}
	w.clock.pass(150 * time.Millisecond)
	w.Sweep(t.Context())
	if len(flight.cut) != 1 || flight.cut[0] != "" {
		t.Errorf("cut %q, want once and without a reason", flight.cut)
	}
	b.all(func(l auth.Listener) { l.TrustUntil(w.clock.Now().Add(time.Hour)) })
	wants(t, w.request(g), "")
}

// The owners of many streams have signed out while a node could not hear for a
// moment. It must have found all of them a second after it hears again, also
// when each has to be read over a network.
func TestManyFlightsAfterABreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams = 300
		b, nodes := newNodes(t, 2)
		near, far := nodes[0], nodes[1]
		start := time.Now()
		far.Now = func() time.Time { return far.clock.Now().Add(time.Since(start)) }
		flights := make([]*passenger, streams)
		var over []auth.Grant
		for i := range flights {
			g := near.signIn(phoneNo(i), "phone")
			wants(t, far.request(g), "")
			flights[i] = far.board(g)
			if i%2 == 0 {
				over = append(over, g)
			}
		}
		b.hold()
		for _, g := range over {
			wants(t, near.Logout(t.Context(), proof(g), auth.ScopeSession), "")
		}
		b.eachRead(func(string) { time.Sleep(5 * time.Millisecond) })
		b.all(auth.Listener.ChangedAll)
		heard := time.Now()
		for range 6 {
			far.Sweep(t.Context())
			time.Sleep(max(0, 150*time.Millisecond-time.Since(heard)%(150*time.Millisecond)))
		}
		if took := time.Since(heard); took > 1100*time.Millisecond {
			t.Errorf("six sweeps took %v", took)
		}
		for i, f := range flights {
			want := auth.EndReason("")
			if i%2 == 0 {
				want = auth.EndLogout
			}
			if got := f.reason(); got != want {
				t.Fatalf("stream %d was cut by %q, want %q", i, got, want)
			}
		}
	})
}
