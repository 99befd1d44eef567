package move_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
	"github.com/sidegate/sidegate/caddymodule/internal/move"
	"github.com/sidegate/sidegate/caddymodule/storetest"
)

// trial is a move between two stores.
type trial struct {
	*testing.T
	source, target *faulty
	mirror         *move.Mirror
	move           *move.Move
	ended          chan error // what Run returns
}

func newTrial(t *testing.T) *trial {
	c := &trial{T: t, source: newFaulty(), target: newFaulty()}
	c.mirror = move.NewMirror(c.source)
	return c
}

func (c *trial) options() move.Options {
	return move.Options{Target: c.target, From: "store A", To: "store B", Now: time.Now}
}

// begin begins a move, and lets it run.
func (c *trial) begin() {
	c.Helper()
	var err error
	if c.move, err = c.mirror.Begin(c.Context(), c.options()); err != nil {
		c.Fatal(err)
	}
	c.run()
}

func (c *trial) run() {
	ended, v := make(chan error, 1), c.move
	c.ended = ended
	go func() { ended <- v.Run() }()
}

// reach waits for a phase.
func (c *trial) reach(p move.Phase) {
	c.Helper()
	for deadline := time.Now().Add(10 * time.Minute); c.move.Phase() != p; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) || c.move.Phase() == move.Broken {
			c.Fatalf("got %+v, want %s", c.move.Status(), p)
		}
	}
}

// end ends the move.
func (c *trial) end() {
	c.Helper()
	c.move.End()
	if err := <-c.ended; err != nil {
		c.Errorf("the move broke: %v", err)
	}
}

func (c *trial) put(store auth.Store, writes ...auth.Write) {
	c.Helper()
	if err := store.Put(c.Context(), writes); err != nil {
		c.Fatal(err)
	}
}

// set swaps a value in, whatever there is.
func (c *trial) set(store auth.Store, key, value string) {
	c.Helper()
	records, err := store.Get(c.Context(), key)
	if err == nil {
		_, err = store.Swap(c.Context(), records[0].Version, auth.Write{Key: key, Value: []byte(value)})
	}
	if err != nil {
		c.Fatal(err)
	}
}

func (c *trial) remove(store auth.Store, key string) {
	c.Helper()
	records, err := store.Get(c.Context(), key)
	if err == nil {
		_, err = store.Swap(c.Context(), records[0].Version, auth.Write{Key: key, Ending: true})
	}
	if err != nil {
		c.Fatal(err)
	}
}

func (c *trial) wants(store auth.Store, key, value string) {
	c.Helper()
	records, err := store.Get(c.Context(), key)
	if err != nil || string(records[0].Value) != value {
		c.Errorf("%s: got %q, want %q: %v", key, records[0].Value, value, err)
	}
}

// all is what a store holds, without its mark.
func all(t interface{ Fatal(...any) }, store auth.Walker) map[string]string {
	found := map[string]string{}
	err := store.Walk(context.Background(), func(w auth.Write) error {
		if w.Key != move.MarkKey {
			found[w.Key] = fmt.Sprint(string(w.Value), w.Expires.UnixMilli())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (c *trial) wantsMark(store auth.Store, text string) {
	c.Helper()
	m, marked, err := move.ReadMark(c.Context(), store)
	if err != nil || marked != (text != "") || marked && !strings.Contains(m.String(), text) {
		c.Errorf("got mark %q (%v), want %q: %v", m, marked, text, err)
	}
}

func fillStore(t *testing.T, store auth.Store, n int) {
	t.Helper()
	writes := make([]auth.Write, n)
	for i := range writes {
		writes[i] = auth.Write{Key: fmt.Sprintf("session/%d", i), Value: fmt.Append(nil, "value ", i)}
		if i%3 == 0 {
			writes[i].Expires = time.Now().Add(time.Hour).Truncate(time.Millisecond)
		}
	}
	if err := store.Put(t.Context(), writes); err != nil {
		t.Fatal(err)
	}
}

func TestMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrial(t)
		fillStore(t, c.mirror, 3000)
		c.begin()
		c.reach(move.InStep)
		c.wantsMark(c.source, "")
		c.wantsMark(c.target, "it is a copy of store A")
		c.set(c.mirror, "session/1", "new")
		c.remove(c.mirror, "session/2")
		c.put(c.mirror, auth.Write{Key: "touch/9", Value: []byte("t")})
		if s := c.move.Status(); s.Copied != 3000 || s.Checked != 6000 || len(s.Differences) != 0 {
			t.Errorf("got %+v", s)
		}
		if err := c.move.HandOver(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.wantsMark(c.source, "its records were moved to store B")
		c.wantsMark(c.target, "")
		c.set(c.mirror, "session/1", "newer")
		for _, store := range []auth.Store{c.mirror, c.source, c.target} {
			c.wants(store, "session/1", "newer")
			c.wants(store, "session/2", "")
			c.wants(store, "touch/9", "t")
		}
		c.end()
		c.set(c.mirror, "session/1", "newest")
		c.wants(c.target, "session/1", "newest")
		c.wants(c.source, "session/1", "newer")
		if c.move.Phase() != move.Moved || c.mirror.Store() != auth.Store(c.target) {
			t.Error("the target does not answer")
		}
	})
}

// A reload that fails after the new configuration has the store must leave
// everything as it was.
func TestTakeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrial(t)
		fillStore(t, c.mirror, 10)
		c.begin()
		c.reach(move.InStep)
		for range 2 {
			if err := c.move.HandOver(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.set(c.mirror, "session/1", "on the target")
			if err := c.move.TakeBack(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.wantsMark(c.source, "")
			c.wantsMark(c.target, "it is a copy")
			c.wants(c.mirror, "session/1", "on the target")
			c.set(c.mirror, "session/1", "on the source")
			c.wants(c.source, "session/1", "on the source")
		}
		c.end()
		if got, want := fmt.Sprint(all(t, c.target)), fmt.Sprint(all(t, c.source)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// What a reader has read before the stores change places must not be written
// over what was written after: its version is of the other store, where the same
// number may stand for something else.
func TestVersionsOfTheOtherStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrial(t)
		fillStore(t, c.mirror, 1)
		for i := range 10 { // so that the target's versions come by this one
			c.set(c.mirror, "session/0", fmt.Sprint("alive ", i))
		}
		c.begin()
		c.reach(move.InStep)
		read, err := c.mirror.Get(t.Context(), "session/0")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.move.HandOver(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			c.set(c.mirror, "session/0", fmt.Sprint("ended ", i))
			_, err := c.mirror.Swap(t.Context(), read[0].Version, auth.Write{Key: "session/0", Value: []byte("alive")})
			if !errors.Is(err, auth.ErrConflict) {
				t.Fatalf("a version of the other store was taken: %v", err)
			}
		}
		c.end()
	})
}

// The copier reads a record, its session ends, and only then is what was read
// written: the end must stay in the copy.
func TestCopyOverNewer(t *testing.T) {
	for name, change := range map[string]func(*trial){
		"an end":     func(c *trial) { c.set(c.mirror, "session/7", "ended") },
		"a deletion": func(c *trial) { c.remove(c.mirror, "session/7") },
		"a put":      func(c *trial) { c.put(c.mirror, auth.Write{Key: "session/7", Value: []byte("touched")}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTrial(t)
				fillStore(t, c.mirror, 10)
				once := false
				c.target.before = func(op string, keys ...string) {
					if op == "put" && len(keys) > 5 && !once {
						once = true
						change(c)
					}
				}
				c.begin()
				c.reach(move.InStep)
				if got, want := fmt.Sprint(all(t, c.target)), fmt.Sprint(all(t, c.source)); !once || got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				c.end()
			})
		})
	}
}

// Of two writes of a record the later one must be the later one in both stores.
func TestOrderOfWrites(t *testing.T) {
	c := newTrial(t)
	c.begin()
	c.reach(move.InStep)
	began, release := make(chan bool), make(chan bool)
	var slow sync.Once
	c.target.before = func(string, ...string) {
		slow.Do(func() { close(began); <-release }) // the first of the two is on its way
	}
	var writing sync.WaitGroup
	write := func(value string) {
		if err := c.mirror.Put(context.Background(), []auth.Write{{Key: "session/1", Value: []byte(value)}}); err != nil {
			t.Error(err)
		}
	}
	writing.Go(func() { write("alive") })
	<-began
	second := make(chan bool)
	writing.Go(func() { write("ended"); close(second) })
	select {
	case <-second:
	case <-time.After(50 * time.Millisecond): // it waits, as it should
	}
	close(release)
	writing.Wait()
	c.wants(c.source, "session/1", "ended")
	c.wants(c.target, "session/1", "ended")
	c.end()
}

// Nobody waits for a second store that is in trouble, and nothing is lost by it.
func TestTargetInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrial(t)
		fillStore(t, c.mirror, 10)
		c.begin()
		c.reach(move.InStep)
		c.target.down.Store(true)
		c.set(c.mirror, "session/1", "ended")
		c.put(c.mirror, auth.Write{Key: "touch/1", Value: []byte("t")})
		if err := c.move.HandOver(t.Context()); !errors.Is(err, move.ErrNotReady) {
			t.Errorf("handed over to a store that has missed something: %v", err)
		}
		if s := c.move.Status(); s.Doubts != 2 {
			t.Errorf("got %+v", s)
		}
		time.Sleep(30 * time.Second)
		c.target.down.Store(false)
		time.Sleep(30 * time.Second)
		c.wants(c.target, "session/1", "ended")
		if err := c.move.HandOver(t.Context()); err != nil {
			t.Error(err)
		}
		c.end()
	})
}

func TestTargetGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrial(t)
		fillStore(t, c.mirror, 10)
		c.begin()
		c.reach(move.InStep)
		c.target.down.Store(true)
		c.set(c.mirror, "session/1", "ended")
		if err := <-c.ended; err == nil || c.move.Phase() != move.Broken {
			t.Errorf("got %v, %+v", err, c.move.Status())
		}
		c.set(c.mirror, "session/1", "ended for good")
		c.wants(c.source, "session/1", "ended for good")
		c.target.down.Store(false)
		c.wantsMark(c.target, "it is a copy")
		c.wantsMark(c.source, "")
	})
}

// A write that got no answer is carried out later than the one that repairs it.
func TestLateWrites(t *testing.T) {
	for name, side := range map[string]func(*trial) *faulty{
		"by the source": func(c *trial) *faulty { return c.source },
		"by the target": func(c *trial) *faulty { return c.target },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTrial(t)
				fillStore(t, c.mirror, 10)
				c.begin()
				c.reach(move.InStep)
				side(c).late.Store(int64(7 * time.Second))
				_ = c.mirror.Put(t.Context(), []auth.Write{{Key: "session/1", Value: []byte("late")}})
				side(c).late.Store(0)
				if err := c.move.HandOver(t.Context()); !errors.Is(err, move.ErrNotReady) {
					t.Errorf("handed over with a write under way: %v", err)
				}
				time.Sleep(30 * time.Second)
				if err := c.move.HandOver(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got, want := fmt.Sprint(all(t, c.target)), fmt.Sprint(all(t, c.source)); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				c.wants(c.mirror, "session/1", "late")
				c.end()
			})
		})
	}
}

// A client that goes away must not leave the stores apart.
func TestClientGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrial(t)
		fillStore(t, c.mirror, 10)
		c.begin()
		c.reach(move.InStep)
		ctx, leave := context.WithCancel(t.Context())
		c.source.before = func(op string, _ ...string) {
			if op == "put" || op == "swap" {
				leave()
			}
		}
		if err := c.mirror.Put(ctx, []auth.Write{{Key: "session/1", Value: []byte("ended")}}); err != nil {
			t.Error(err)
		}
		c.wants(c.target, "session/1", "ended")
		if n := c.move.Status().Doubts; n != 0 {
			t.Errorf("%d keys are in doubt", n)
		}
		c.end()
	})
}

func TestCheckFindsDifferences(t *testing.T) {
	for what, twist := range map[string]func(auth.Write) (auth.Write, bool){
		"missing": func(w auth.Write) (auth.Write, bool) { return w, w.Key != "session/3" },
		"value": func(w auth.Write) (auth.Write, bool) {
			if w.Key == "session/3" {
				w.Value = []byte("other")
			}
			return w, true
		},
		"expiry": func(w auth.Write) (auth.Write, bool) {
			if w.Key == "session/3" {
				w.Expires = w.Expires.Add(time.Millisecond)
			}
			return w, true
		},
		"surplus": func(w auth.Write) (auth.Write, bool) {
			if w.Key == "session/3" {
				w.Key = "session/x"
			}
			return w, true
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTrial(t)
				fillStore(t, c.mirror, 10)
				c.target.twist = twist
				c.begin()
				if err := <-c.ended; err == nil || c.move.Phase() != move.Broken {
					t.Fatalf("got %v, %+v", err, c.move.Status())
				}
				found := false
				for _, d := range c.move.Status().Differences {
					found = found || d.What == what && d.Kind == "session"
				}
				if !found {
					t.Errorf("got %+v", c.move.Status().Differences)
				}
			})
		})
	}
}

func TestBeginRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrial(t)
		fillStore(t, c.mirror, 10)
		refused := func(why string) {
			t.Helper()
			if _, err := c.mirror.Begin(t.Context(), c.options()); !errors.Is(err, move.ErrRefused) || !strings.Contains(err.Error(), why) {
				t.Errorf("got %v, want %q", err, why)
			}
		}
		c.source.others.Store(1)
		refused("other nodes")
		c.source.others.Store(0)
		c.target.others.Store(1)
		refused("other nodes")
		c.target.others.Store(0)
		c.put(c.target, auth.Write{Key: "user/1", Value: []byte("somebody")})
		refused("store B holds records already")
		c.remove(c.target, "user/1")
		c.begin()
		refused("under way")
		c.reach(move.InStep)
		c.end()
	})
}

// Another node that comes to the source while it is moved would write what
// nobody repeats.
func TestAnotherNodeComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrial(t)
		fillStore(t, c.mirror, 10)
		c.begin()
		c.reach(move.InStep)
		c.source.others.Store(1)
		if err := c.move.HandOver(t.Context()); !errors.Is(err, move.ErrRefused) {
			t.Errorf("handed over beside another node: %v", err)
		}
		if err := <-c.ended; !errors.Is(err, move.ErrRefused) || c.move.Phase() != move.Broken {
			t.Errorf("got %v, %+v", err, c.move.Status())
		}
	})
}

// Who asks to be forgotten while the records are moved must be, in both stores:
// also when the copier has read their records and not written them yet.
func TestErasedWhileMoving(t *testing.T) {
	of := func(key string) auth.Write { return auth.Write{Key: key, Value: []byte("somebody"), Owner: 7} }
	erase := func(c *trial) {
		if err := c.mirror.Erase(t.Context(), 7, time.Now().Add(time.Second)); err != nil {
			c.Error(err)
		}
		time.Sleep(2 * time.Second) // the copier is slower than what keeps late writes out
	}
	for name, when := range map[string]func(*trial){
		"while they are copied": func(c *trial) {
			once := false
			c.target.before = func(op string, keys ...string) {
				if op == "put" && slices.Contains(keys, "user/7") && !once {
					once = true
					erase(c)
				}
			}
			c.begin()
			c.reach(move.InStep)
		},
		"in step": func(c *trial) {
			c.begin()
			c.reach(move.InStep)
			erase(c)
		},
		"while the target is in trouble": func(c *trial) {
			c.begin()
			c.reach(move.InStep)
			c.target.down.Store(true)
			erase(c)
			if err := c.move.HandOver(t.Context()); !errors.Is(err, move.ErrNotReady) {
				c.Errorf("handed over to a store that has missed an erasure: %v", err)
			}
			c.target.down.Store(false)
			time.Sleep(20 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTrial(t)
				fillStore(t, c.mirror, 10)
				c.put(c.mirror, of("user/7"), of("device/7/a"))
				when(c)
				if err := c.move.HandOver(t.Context()); err != nil {
					t.Error(err)
				}
				for _, store := range []auth.Store{c.source, c.target} {
					c.wants(store, "user/7", "")
					c.wants(store, "device/7/a", "")
					c.wants(store, "session/1", "value 1")
				}
				c.end()
			})
		})
	}
}

// What no walk shows is not copied: the stores are not in step before it is over,
// or was written in both.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrial(t)
		hidden := func(key string, life time.Duration) auth.Write {
			return auth.Write{Key: key, Value: []byte("hidden"), Expires: time.Now().Add(life), Unlisted: true, Owner: 7}
		}
		c.put(c.mirror, hidden("challenge/before", 5*time.Minute))
		began := time.Now()
		opt := c.options()
		opt.Hold = 5 * time.Minute
		var err error
		if c.move, err = c.mirror.Begin(t.Context(), opt); err != nil {
			t.Fatal(err)
		}
		c.run()
		c.reach(move.Waiting)
		if s := c.move.Status(); s.SecondsLeft < 290 || s.SecondsLeft > 300 {
			t.Errorf("got %+v", s)
		}
		c.put(c.mirror, hidden("challenge/meanwhile", 10*time.Minute))
		c.target.down.Store(true)
		c.put(c.mirror, hidden("challenge/missed", 10*time.Minute))
		c.target.down.Store(false)
		c.reach(move.InStep)
		if took := time.Since(began); took < 5*time.Minute || took > 6*time.Minute {
			t.Errorf("in step after %v", took)
		}
		for _, key := range []string{"challenge/meanwhile", "challenge/missed"} {
			c.wants(c.target, key, "hidden")
		}
		c.wants(c.source, "challenge/before", "")
		if err := c.target.Erase(t.Context(), 7, time.Now()); err != nil {
			t.Fatal(err)
		}
		c.wants(c.target, "challenge/meanwhile", "")
		c.wants(c.target, "challenge/missed", "") // whose owner only the write knew
		c.end()
	})
}

func TestOverwrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrial(t)
		fillStore(t, c.mirror, 10)
		for i := range 1000 {
			c.put(c.target, auth.Write{Key: fmt.Sprint("session/old", i), Value: []byte("old")})
		}
		c.put(c.target, auth.Write{Key: "challenge/used", Value: []byte("not used yet"), Unlisted: true})
		opt := c.options()
		opt.Overwrite = true
		var err error
		if c.move, err = c.mirror.Begin(t.Context(), opt); err != nil {
			t.Fatal(err)
		}
		c.run()
		c.reach(move.InStep)
		c.end()
		if n := len(all(t, c.target)); n != 10 {
			t.Errorf("the target has %d records", n)
		}
		c.wants(c.target, "challenge/used", "")
	})
}

// A move that was stopped leaves a target that nobody takes for a store, and
// another one can begin.
func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrial(t)
		fillStore(t, c.mirror, 10)
		c.begin()
		c.end()
		if p := c.move.Phase(); p != move.Stopped {
			t.Errorf("got %s", p)
		}
		c.wantsMark(c.target, "it is a copy")
		if err := c.move.HandOver(t.Context()); !errors.Is(err, move.ErrNotReady) {
			t.Errorf("handed over after its end: %v", err)
		}
		c.target = newFaulty()
		c.begin()
		c.reach(move.InStep)
		c.end()
	})
}

// A target that cannot be marked, or a source, changes nothing.
func TestHandOverFails(t *testing.T) {
	for name, side := range map[string]func(*trial) *faulty{
		"the source": func(c *trial) *faulty { return c.source },
		"the target": func(c *trial) *faulty { return c.target },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTrial(t)
				fillStore(t, c.mirror, 10)
				c.begin()
				c.reach(move.InStep)
				fails := 1
				side(c).before = func(op string, keys ...string) {
					if op == "get" && len(keys) == 1 && keys[0] == move.MarkKey {
						fails--
						side(c).down.Store(fails >= 0)
					}
				}
				if err := c.move.HandOver(t.Context()); err == nil {
					t.Error("handed over without a mark")
				}
				side(c).before = nil
				side(c).down.Store(false)
				c.wantsMark(c.source, "")
				c.wantsMark(c.target, "it is a copy")
				c.set(c.mirror, "session/1", "on the source")
				c.wants(c.source, "session/1", "on the source")
				if err := c.move.HandOver(t.Context()); err != nil {
					t.Error(err)
				}
				c.end()
			})
		})
	}
}

func TestConformance(t *testing.T) {
	alone := func(t *testing.T, now func() time.Time) auth.Store { return move.NewMirror(memstore.New(now)) }
	inStep := func(t *testing.T, now func() time.Time) (*move.Mirror, *move.Move) {
		m := move.NewMirror(memstore.New(now))
		v, err := m.Begin(t.Context(), move.Options{Target: memstore.New(now), Now: now})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- v.Run() }()
		t.Cleanup(func() {
			v.End()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		for v.Phase() != move.InStep {
			time.Sleep(time.Millisecond)
		}
		return m, v
	}
	t.Run("alone", func(t *testing.T) { storetest.Run(t, alone) })
	t.Run("in step", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T, now func() time.Time) auth.Store { m, _ := inStep(t, now); return m })
	})
	t.Run("handed over", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T, now func() time.Time) auth.Store {
			m, v := inStep(t, now)
			if err := v.HandOver(t.Context()); err != nil {
				t.Fatal(err)
			}
			return m
		})
	})
}
