package auth_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// recordingStore keeps every write.
type recordingStore struct {
	*faultyStore
	mu     sync.Mutex
	writes []auth.Write
}

func (s *recordingStore) Swap(ctx context.Context, v auth.Version, w auth.Write) (auth.Version, error) {
	s.note(w)
	return s.faultyStore.Swap(ctx, v, w)
}

func (s *recordingStore) Put(ctx context.Context, writes []auth.Write) error {
	s.note(writes...)
	return s.faultyStore.Put(ctx, writes)
}

func (s *recordingStore) note(writes ...auth.Write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, writes...)
}

// An erasure takes what is written with its owner. A record that says something
// of a person, in its value or its key, has the owner, or nobody finds it
// without knowing its key and its life is short.
func TestEveryRecordOfAUserHasItsOwner(t *testing.T) {
	hour := []auth.Limit{{N: 50, Window: time.Hour}}
	w := newWorld(t, func(s *auth.Settings) {
		s.Limits = auth.Limits{
			PhoneSends: hour, PhoneFailures: hour, IPSends: hour, IPFailures: hour, PrefixSends: hour, GlobalSends: hour,
			GlobalFailures: hour, CountrySends: hour, IPCountries: hour, PrefixUnverified: hour, CountryUnverified: hour, GlobalUnverified: hour,
		}
	})
	store := &recordingStore{faultyStore: w.store}
	local := w.Directory.(*auth.LocalDirectory)
	w.Store, local.Store, local.FirstID = store, store, 7_300_000_000_001
	const moved, device, address = "+46709998877", "device-of-alice", "198.51.100.7"
	g := liveALife(t, w, moved, device, address)

	id := g.Identity.SessionID
	personal := map[string][]byte{
		"number": []byte(alice[1:]), "new number": []byte(moved[1:]), "device": []byte(device), "name": []byte("Alice's phone"), "push token": []byte("push-of-alice"),
		"address": []byte(address), "session": []byte(id.String()), "session's bytes": id[:],
		"id": []byte("7300000000001"), "id's bytes": binary.BigEndian.AppendUint64(nil, g.Identity.UserID)[1:],
	}
	kinds := map[string]bool{}
	for _, write := range store.writes {
		kind, _, _ := strings.Cut(write.Key, "/")
		kinds[kind] = true
		if write.Owner != 0 && write.Owner != g.Identity.UserID {
			t.Errorf("%s is owned by %d", write.Key, write.Owner)
		}
		for what, part := range personal {
			inKey, inValue := strings.Contains(write.Key, string(part)), bytes.Contains(write.Value, part)
			briefly := write.Unlisted && kind == "challenge" && !write.Expires.After(w.clock.Now().Add(10*time.Minute))
			if (inKey || inValue) && write.Owner == 0 && write.Value != nil && !briefly && !isTombstone(write, what) && !isCounter(write) {
				t.Errorf("%s tells a user's %s, and has no owner: %s", write.Key, what, write.Value)
			}
		}
	}
	for _, kind := range []string{"user", "phone", "session", "touch", "used", "device", "member", "challenge", "limit", "conversion"} {
		if !kinds[kind] {
			t.Errorf("no %s was written, so nothing was looked at", kind)
		}
	}
}

// isTombstone allows the key, which has the id, of a record that no walk shows.
func isTombstone(w auth.Write, what string) bool {
	return what == "id" && w.Unlisted && strings.HasPrefix(w.Key, "user/") && !bytes.Contains(w.Value, []byte("7300000000001"))
}

// isCounter allows the last id that was given, whosever it is.
func isCounter(w auth.Write) bool { return w.Key == "counter/user" }

// liveALife does with one user what can be done, and deletes it.
func liveALife(t *testing.T, w *world, moved, device, address string) auth.Grant {
	t.Helper()
	in := func(p auth.Pending, phone string) auth.VerifyRequest {
		return auth.VerifyRequest{
			ChallengeID: p.ChallengeID, Code: w.outbox.code(phone), Kind: auth.RefreshTicket, ClientIP: address,
			Device: auth.DeviceInput{ID: device, Name: "Alice's phone", PushToken: "push-of-alice"},
		}
	}
	from := func(phone string) auth.StartRequest {
		return auth.StartRequest{Phone: phone, Country: "SE", ClientIP: address}
	}
	p, err := w.Start(t.Context(), from(alice))
	wants(t, err, "")
	wrong := in(p, alice)
	wrong.Code = "wrong"
	_, err = w.Verify(t.Context(), wrong)
	wants(t, err, auth.CodeOTPInvalid)
	g, err := w.Verify(t.Context(), in(p, alice))
	wants(t, err, "")
	g, err = w.refresh(g.Ticket)
	wants(t, err, "")
	wants(t, w.request(g), "")
	wants(t, w.Live.Flush(t.Context(), w.Store), "")
	_, _, err = w.UpdateDevice(t.Context(), proof(g), auth.DeviceInput{PushToken: "push-of-alice", Name: "Alice's phone"})
	wants(t, err, "")
	w.clock.pass(time.Minute)
	p, err = w.StartPhoneChange(t.Context(), proof(g), from(moved))
	wants(t, err, "")
	_, _, err = w.ChangePhone(t.Context(), proof(g), auth.ChangeRequest{ChallengeID: p.ChallengeID, Code: w.outbox.code(moved), ClientIP: address})
	wants(t, err, "")
	w.clock.pass(time.Minute)
	p, err = w.Start(t.Context(), from(moved))
	wants(t, err, "")
	_, err = w.Verify(t.Context(), in(p, moved)) // in the place of the first session
	wants(t, err, "")
	operator := w.As("test")
	_, err = operator.Ban(t.Context(), g.Identity.UserID, "alice was rude", time.Time{})
	wants(t, err, "")
	wants(t, operator.Delete(t.Context(), g.Identity.UserID), "")
	wants(t, w.Live.Flush(t.Context(), w.Store), "")
	return g
}
