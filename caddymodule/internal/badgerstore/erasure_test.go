package badgerstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/vault"
)

// After the erasure of a user nothing of theirs stands in any file, and nothing
// of what was theirs can be opened by someone who has the files and every key
// that there still is. The same search finds all of it before, and again when
// the old data keys are put back: it is the overwriting that erases.
func TestErasureIsReal(t *testing.T) {
	life := newLife(t)
	alice := life.user("+46701234567", "+46709998877", "alice")
	bob := life.user("+46707654321", "", "bob")
	life.reopen() // so that there are tables
	alice.signIn("again")
	life.flush()
	before := life.image()
	if err := life.service.As("test").Delete(t.Context(), alice.id); err != nil {
		t.Fatal(err)
	}
	life.flush()
	crashed := life.image()
	life.reopen()
	closed := life.image()
	revived := life.image()
	if err := os.WriteFile(slotsFile(revived), readFile(t, slotsFile(before)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		opens      bool
	}{
		{"before", before, true}, {"erased, then killed", crashed, false}, {"erased and closed", closed, false},
		{"with the old data keys", revived, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.opens || c.path == before { // never readable as they are
				alice.searchFiles(t, c.path)
			}
			opened := carve(t, c.path, life.seal, alice.guesses())
			for what, part := range alice.traces() {
				found := slices.ContainsFunc(opened, func(plain []byte) bool { return bytes.Contains(plain, part) })
				if found && !c.opens {
					t.Errorf("%s can still be read", what)
				}
				if !found && c.opens && slices.Contains([]string{"number", "new number", "device", "name of the device", "session 0", "session 1"}, what) {
					t.Errorf("%s was not found, so the search proves nothing", what)
				}
			}
			for what, part := range map[string][]byte{"number": []byte(bob.number), "session": []byte(bob.sessions[0].String())} {
				if !slices.ContainsFunc(opened, func(plain []byte) bool { return bytes.Contains(plain, part) }) {
					t.Errorf("the other user's %s cannot be read", what)
				}
			}
		})
	}
}

// A later backup has nothing of an erased user. And who is restored from an
// earlier one can be erased again, from the new store's files.
func TestErasureAndBackups(t *testing.T) {
	life := newLife(t)
	alice := life.user("+46701234567", "+46709998877", "alice")
	bob := life.user("+46707654321", "", "bob")
	early := life.backup()
	if err := life.service.As("test").Delete(t.Context(), alice.id); err != nil {
		t.Fatal(err)
	}
	late := life.backup()
	text := func(backup []auth.Write) []byte {
		var all []byte
		for _, w := range backup {
			if w.Key != "counter/user" {
				all = fmt.Appendf(all, "%s %s\n", w.Key, w.Value)
			}
		}
		return all
	}
	for what, part := range alice.traces() {
		if bytes.Contains(text(late), part) {
			t.Errorf("the later backup has %s", what)
		}
	}
	if !bytes.Contains(text(late), []byte(bob.number)) || !bytes.Contains(text(early), []byte(alice.number)) {
		t.Error("a backup has nothing, so the search proves nothing")
	}

	restored := newLife(t)
	restored.fill(early)
	if len(restored.found(alice)) == 0 {
		t.Error("nothing is restored")
	}
	if err := restored.service.As("test").Delete(t.Context(), alice.id); err != nil {
		t.Fatal(err)
	}
	restored.reopen()
	if found := restored.found(alice); len(found) != 0 {
		t.Errorf("after the erasure can be read: %v", found)
	}
	if len(restored.found(bob)) == 0 {
		t.Error("the other user is gone")
	}
}

func (l *life) backup() (all []auth.Write) {
	l.t.Helper()
	err := auth.Archive(l.t.Context(), l.store, func(w auth.Write) error {
		all = append(all, w)
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return all
}

// fill restores a backup.
func (l *life) fill(backup []auth.Write) {
	l.t.Helper()
	r := auth.NewRestoration(l.store, &auth.Aftermath{})
	for _, w := range backup {
		if err := r.Add(l.t.Context(), w); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := r.Finish(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// found lists what of a person can be read from the files.
func (l *life) found(p *person) (found []string) {
	opened := bytes.Join(carve(l.t, l.image(), l.seal, p.guesses()), []byte("\n"))
	for what, part := range p.traces() {
		if bytes.Contains(opened, part) {
			found = append(found, what)
		}
	}
	return found
}

// life is a store with a service over it that people use.
type life struct {
	t       *testing.T
	path    string
	seal    *vault.Vault
	store   *Store
	service *auth.Service
	mu      sync.Mutex
	code    string
}

func newLife(t *testing.T) *life {
	l := &life{t: t, path: t.TempDir(), seal: testSeal()}
	l.open()
	t.Cleanup(func() { l.store.Close() })
	return l
}

func (l *life) open() {
	l.t.Helper()
	var err error
	if l.store, err = Open(Options{Path: l.path, Seal: l.seal}); err != nil {
		l.t.Fatal(err)
	}
	hour := []auth.Limit{{N: 50, Window: time.Hour}}
	l.service = &auth.Service{
		Settings: auth.Settings{
			OTP:    auth.OTP{Length: 6, TTL: time.Minute, Attempts: 5, ResendAfter: time.Millisecond},
			Limits: auth.Limits{PhoneSends: hour, PhoneFailures: hour, IPSends: hour, PrefixUnverified: hour},

			AccessTTL: time.Minute, IdleTimeout: time.Hour, MaxLifetime: time.Hour, MaxPerUser: 3,
		},
		Store: l.store, Live: auth.NewLive(100), Secrets: l.seal, Outbox: l, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Text:   func(code, _, _ string) (string, string) { l.code = code; return "", "" },
		Notice: func(string) (string, string) { return "", "" },
	}
	l.service.Directory = &auth.LocalDirectory{Store: l.store, Secrets: l.seal, Registration: true, UserType: "customer", FirstID: 7_300_000_000_001, Now: time.Now}
}

// Enqueue implements auth.Outbox.
func (l *life) Enqueue(_ auth.Message, done func(error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	done(nil)
	return nil
}

func (l *life) flush() {
	l.t.Helper()
	if err := l.service.Live.Flush(l.t.Context(), l.store); err != nil {
		l.t.Fatal(err)
	}
}

// reopen ends with the logs in tables.
func (l *life) reopen() {
	l.t.Helper()
	if err := l.store.Close(); err != nil {
		l.t.Fatal(err)
	}
	l.open()
}

// image is what a kill at this moment would leave.
func (l *life) image() string {
	l.t.Helper()
	if err := l.store.Sync(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	to := l.t.TempDir()
	if err := os.CopyFS(to, os.DirFS(l.path)); err != nil {
		l.t.Fatal(err)
	}
	return to
}

// person is a user, and all that is known of them.
type person struct {
	life                  *life
	id                    uint64
	name, first, number   string
	sessions              []auth.SessionID
	last                  auth.Grant
	devices, deviceTitles []string
}

// user makes one with two sessions, a wrong code, and perhaps another number.
func (l *life) user(phone, moved, name string) *person {
	l.t.Helper()
	p := &person{life: l, name: name, first: phone, number: phone}
	p.signIn("phone")
	p.signIn("tablet")
	p.id = p.last.Identity.UserID
	if _, _, err := l.service.UpdateDevice(l.t.Context(), p.proof(), auth.DeviceInput{PushToken: "push token of " + name}); err != nil {
		l.t.Fatal(err)
	}
	if moved != "" {
		ctx := l.t.Context()
		pending, err := l.service.StartPhoneChange(ctx, p.proof(), auth.StartRequest{Phone: moved})
		if err == nil {
			_, _, err = l.service.ChangePhone(ctx, p.proof(), auth.ChangeRequest{ChallengeID: pending.ChallengeID, Code: l.code})
		}
		if err != nil {
			l.t.Fatal(err)
		}
		p.number = moved
	}
	l.flush()
	return p
}

func (p *person) proof() auth.Proof {
	return auth.Proof{SessionID: p.last.Identity.SessionID, Generation: p.last.Generation}
}

func (p *person) signIn(device string) {
	t := p.life.t
	t.Helper()
	ctx := context.Background()
	pending, err := p.life.service.Start(ctx, auth.StartRequest{Phone: p.number, ClientIP: "198.51.100.7", Country: "SE"})
	if err != nil {
		t.Fatal(err)
	}
	in := auth.DeviceInput{ID: device + "-of-" + p.name, Name: p.name + "'s own " + device}
	r := auth.VerifyRequest{ChallengeID: pending.ChallengeID, Code: "wrong", Kind: auth.RefreshTicket, ClientIP: "198.51.100.7", Device: in}
	if _, err := p.life.service.Verify(ctx, r); err == nil {
		t.Fatal("a wrong code")
	}
	r.Code = p.life.code
	if p.last, err = p.life.service.Verify(ctx, r); err != nil {
		t.Fatal(err)
	}
	p.sessions = append(p.sessions, p.last.Identity.SessionID)
	p.devices, p.deviceTitles = append(p.devices, in.ID), append(p.deviceTitles, in.Name)
}

// traces are what must not be found, as text and as it could stand in bytes.
func (p *person) traces() map[string][]byte {
	traces := map[string][]byte{
		"number": []byte(p.first[1:]), "new number": []byte(p.number[1:]), "device": []byte(p.devices[0]), "second device": []byte(p.devices[1]),
		"name of the device": []byte(p.deviceTitles[0]), "push token": []byte("push token of " + p.name), "address": []byte("198.51.100.7"),
		"id":         []byte(strconv.FormatUint(p.id, 10)),
		"id, big":    binary.BigEndian.AppendUint64(nil, p.id)[2:],
		"id, little": binary.LittleEndian.AppendUint64(nil, p.id)[:6],
		"id, varint": binary.AppendUvarint(nil, p.id),
	}
	for i, id := range p.sessions {
		traces["session "+strconv.Itoa(i)] = []byte(id.String())
		traces["bytes of session "+strconv.Itoa(i)] = id[:]
	}
	for _, phone := range []string{p.first[1:], p.number[1:]} {
		n, _ := strconv.ParseUint(phone, 10, 64)
		traces[phone+", big"] = binary.BigEndian.AppendUint64(nil, n)[2:]
		traces[phone+", little"] = binary.LittleEndian.AppendUint64(nil, n)[:6]
	}
	for what, part := range traces {
		traces[what+" in hex"] = []byte(hex.EncodeToString(part))
	}
	return traces
}

// guesses are keys of unlisted records that somebody might try who thinks that
// this very person was here.
func (p *person) guesses() []string {
	id := strconv.FormatUint(p.id, 10)
	keys := []string{"user/" + id, "owner/" + id, "limit/phone_changes/" + p.life.seal.Index("phone_changes", "user/"+id)}
	for _, phone := range []string{p.first, p.number} {
		for _, kind := range []string{"phone_sends", "phone_failures"} {
			keys = append(keys, "limit/"+kind+"/"+p.life.seal.Index(kind, phone))
		}
		keys = append(keys, "member/"+p.life.seal.Index("member", phone))
	}
	return keys
}

func (p *person) searchFiles(t *testing.T, path string) {
	t.Helper()
	eachFile(t, path, func(name string, data []byte) {
		for what, part := range p.traces() {
			if bytes.Contains(data, part) {
				t.Errorf("%s stands in %s", what, filepath.Base(name))
			}
		}
	})
}

func eachFile(t *testing.T, path string, visit func(name string, data []byte)) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // an open store has just written it into a table
		}
		seen++
		visit(name, bytes.TrimRight(data, "\x00")) // logs are made longer than they are
		return err
	})
	if err != nil || seen < 4 {
		t.Fatalf("%d files: %v", seen, err)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// longest is how long a sealed record of these tests can be.
const longest = 1400

// carve opens all that can be opened with the root key, the data keys and some
// guesses. It knows nothing of Badger's formats: it looks at every place of every
// file where a sealed record could begin, and tries all lengths. So it finds
// old versions, deleted records and what no index leads to.
func carve(t *testing.T, path string, seal *vault.Vault, guesses []string) (opened [][]byte) {
	t.Helper()
	keys := readFile(t, slotsFile(path))
	held := func(slot uint64) ([]byte, error) {
		if at := slot * slotSize; at+slotSize <= uint64(len(keys)) {
			return keys[at : at+slotSize], nil
		}
		return nil, errors.New("there is no such slot")
	}
	begin := seal.Seal(auth.Write{}, 0, nil)[:5] // the format, and which root key
	eachFile(t, path, func(_ string, data []byte) {
		for at := bytes.Index(data, begin); at >= 0; {
			opened = append(opened, openAny(seal, data[at:min(len(data), at+longest)], guesses, held)...)
			next := bytes.Index(data[at+1:], begin)
			if next < 0 {
				break
			}
			at += 1 + next
		}
	})
	return opened
}

func openAny(seal *vault.Vault, data []byte, guesses []string, held func(uint64) ([]byte, error)) (opened [][]byte) {
	for n := len(begun); n <= len(data); n++ {
		w, err := seal.Reveal(data[:n], held)
		if errors.Is(err, auth.ErrErased) {
			return nil
		}
		if w.Key == "counter/user" { // the last id that was given, whosever it is
			return nil
		}
		if err == nil && !w.Unlisted {
			return [][]byte{append([]byte(w.Key+" "), w.Value...)}
		}
		if err != nil {
			continue
		}
		for _, key := range guesses {
			if plain, err := seal.Open(key, data[:n], held); err == nil {
				return [][]byte{plain}
			}
		}
	}
	return nil
}

// begun is as much of a sealed record as there always is.
var begun [58]byte
