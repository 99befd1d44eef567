package vault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// testSlots is what an engine keeps of its owners' data keys.
type testSlots map[uint64][]byte

func (s testSlots) read(slot uint64) ([]byte, error) { return s[slot], nil }

// mustSeal seals with the owner's slot, which has the owner's number.
func (v *Vault) mustSeal(t testing.TB, w auth.Write, slots testSlots) []byte {
	t.Helper()
	if w.Owner != 0 && slots[w.Owner] == nil {
		slots[w.Owner] = v.NewSlot(w.Owner)
	}
	var key []byte
	if w.Owner != 0 {
		var err error
		if key, err = v.SlotKey(w.Owner, slots[w.Owner]); err != nil {
			t.Fatal(err)
		}
	}
	return v.Seal(w, w.Owner, key)
}

func TestSealComesBack(t *testing.T) {
	v, slots := testVault(t, 1), testSlots{}
	rapid.Check(t, func(rt *rapid.T) {
		w := auth.Write{
			Key:   rapid.String().Draw(rt, "key"),
			Value: rapid.SliceOf(rapid.Byte()).Draw(rt, "value"),
			Owner: rapid.Uint64Range(0, 3).Draw(rt, "owner"), Unlisted: rapid.Bool().Draw(rt, "unlisted"),
		}
		sealed := v.mustSeal(t, w, slots)
		got, err := v.Open(w.Key, sealed, slots.read)
		if err != nil || got == nil || !bytes.Equal(got, w.Value) {
			rt.Fatalf("got %x, %v, want %x", got, err, w.Value)
		}
		want := w
		if w.Unlisted {
			want = auth.Write{Unlisted: true}
		}
		shown, err := v.Reveal(sealed, slots.read)
		if len(shown.Value) == 0 {
			shown.Value, want.Value = nil, nil
		}
		if err != nil || !reflect.DeepEqual(shown, want) {
			rt.Fatalf("revealed %v, %v, want %v", shown, err, want)
		}
		if other := w.Key + "x"; bytes.Equal(v.Name(other), v.Name(w.Key)) {
			rt.Fatalf("%q and %q have one name", w.Key, other)
		}
	})
}

func TestOpenRefusals(t *testing.T) {
	v, slots := testVault(t, 1), testSlots{}
	for name, w := range map[string]auth.Write{
		"nobody's":        {Key: "user/1", Value: []byte("hello")},
		"owned":           {Key: "user/1", Value: []byte("hello"), Owner: 1},
		"unlisted":        {Key: "user/1", Value: []byte("hello"), Unlisted: true},
		"unlisted, owned": {Key: "user/1", Value: []byte("hello"), Unlisted: true, Owner: 1},
	} {
		sealed := v.mustSeal(t, w, slots)
		for _, c := range []struct {
			name, key string
			sealed    []byte
			says      string
		}{
			{"nothing", "user/1", nil, "not a sealed record"},
			{"plain text", "user/1", []byte(`{"a":1}`), "not a sealed record"},
			{"cut off", "user/1", sealed[:len(sealed)-1], "damaged"},
			{"cut to its head", "user/1", sealed[:headSize], "not a sealed record"},
			{"moved to another key", "user/2", sealed, "damaged"},
			{"of an earlier format", "user/1", append([]byte{1}, sealed[1:]...), "another version of Sidegate"},
			{"of a later format", "user/1", append([]byte{3}, sealed[1:]...), "not a sealed record"},
			{"another root key", "user/1", testVault(t, 2).mustSeal(t, auth.Write{Key: "user/1"}, nil), "another root key"},
		} {
			_, err := v.Open(c.key, c.sealed, slots.read)
			if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, %s: got %v", name, c.name, err)
			}
		}
		for i := range sealed {
			altered := bytes.Clone(sealed)
			altered[i] ^= 1
			if _, err := v.Open("user/1", altered, slots.read); !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("%s, byte %d altered: opened with %v", name, i, err)
			}
			// Attack: a record is made to show another key or owner.
			if shown, err := v.Reveal(altered, slots.read); err == nil && !shown.Unlisted {
				t.Errorf("%s, byte %d altered: revealed %v", name, i, shown)
			}
		}
		if bytes.Equal(sealed, v.mustSeal(t, w, slots)) {
			t.Errorf("%s: two seals are the same", name)
		}
		if bytes.Contains(sealed, []byte("hello")) || bytes.Contains(sealed, []byte("user")) {
			t.Errorf("%s: it lies in the clear", name)
		}
	}
}

// What is left of an erased owner is noise to someone who holds the root key and
// all slots there are, and those who made up a slot get nothing out of it.
func TestErasedOwnersAreNoise(t *testing.T) {
	v, slots := testVault(t, 1), testSlots{}
	w := auth.Write{Key: "user/7", Value: []byte("+46701234567"), Owner: 7}
	sealed := v.mustSeal(t, w, slots)
	v.mustSeal(t, auth.Write{Key: "user/8", Owner: 8}, slots)
	slots[7] = v.ErasedSlot(7)
	if _, err := v.Open("user/7", sealed, slots.read); !errors.Is(err, auth.ErrErased) || errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, err := v.Reveal(sealed, slots.read); !errors.Is(err, auth.ErrErased) {
		t.Errorf("got %v", err)
	}
	if key, err := v.SlotKey(7, slots[7]); !errors.Is(err, auth.ErrErased) || key != nil {
		t.Errorf("an erased slot has a key: %v", err)
	}
	for slot := range uint64(9) {
		made := append(bytes.Clone(sealed[:slotAt]), binary.BigEndian.AppendUint64(nil, slot)...)
		made = append(made, sealed[saltAt:]...)
		if plain, err := v.Open("user/7", made, testSlots{7: v.NewSlot(7), 8: slots[8]}.read); err == nil {
			t.Errorf("slot %d opens it: %q", slot, plain)
		}
	}
}

func TestSlotRefusals(t *testing.T) {
	v := testVault(t, 1)
	key, erased := v.NewSlot(3), v.ErasedSlot(3)
	if len(key) != SlotSize || len(erased) != SlotSize || SlotSize != 64 {
		t.Fatalf("slots of %d and %d bytes", len(key), len(erased))
	}
	if key, err := v.SlotKey(3, key); err != nil || len(key) != KeySize {
		t.Error(err)
	}
	if _, err := v.SlotKey(3, erased); !errors.Is(err, auth.ErrErased) {
		t.Error(err)
	}
	damaged := map[string][]byte{
		"nothing": nil, "a hole": make([]byte, SlotSize), "cut short": key[:SlotSize-1], "of another slot": v.NewSlot(4),
		"erased in another slot": v.ErasedSlot(4), "of another store": testVault(t, 2).NewSlot(3),
		"half overwritten": append(bytes.Clone(erased[:30]), key[30:]...), "too long": append(bytes.Clone(key), 0),
	}
	for i := range SlotSize {
		for name, held := range map[string][]byte{"key": key, "erased": erased} {
			altered := bytes.Clone(held)
			altered[i] ^= 3 // of the first byte: the other kind
			damaged[name+" altered at "+string(rune('A'+i))] = altered
		}
	}
	for name, held := range damaged {
		key, err := v.SlotKey(3, held)
		if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), "data key 3 is damaged") || key != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An old challenge holds a phone number. Whoever has every key but not its id,
// which nobody can guess, cannot read it; and the file does not tell the id.
func TestUnlistedNeedsItsKey(t *testing.T) {
	v := testVault(t, 1)
	w := auth.Write{Key: "challenge/unguessable", Value: []byte("+46701234567"), Unlisted: true}
	sealed := v.mustSeal(t, w, nil)
	listed := bytes.Clone(sealed)
	listed[slotAt-1] = 0
	for name, sealed := range map[string][]byte{"as it is": sealed, "as a listed one": listed} {
		if shown, err := v.Reveal(sealed, nil); err == nil && (shown.Key != "" || shown.Value != nil) {
			t.Errorf("%s: revealed %v", name, shown)
		}
		for _, key := range []string{"", "challenge/", "challenge/guessed"} {
			if plain, err := v.Open(key, sealed, nil); err == nil {
				t.Errorf("%s: %q opens it: %q", name, key, plain)
			}
		}
	}
}

func TestNames(t *testing.T) {
	v := testVault(t, 1)
	for _, key := range []string{"", "a", "a/", "a/b", "a/b/", "a/b/c", "user/1", "device/17/x/y", "/"} {
		name := v.Name(key)
		for i, c := range key {
			if c == '/' && !bytes.HasPrefix(name, v.Branch(key[:i+1])) {
				t.Errorf("the name of %q does not begin as those of %q", key, key[:i+1])
			}
		}
		if bytes.Equal(name, testVault(t, 2).Name(key)) {
			t.Errorf("%q has the same name in another store", key)
		}
		if len(key) > 2 && bytes.Contains(name, []byte(key[:3])) {
			t.Errorf("%q can be read", key)
		}
	}
	if bytes.Equal(v.Name("a/"), v.Branch("a/")) || bytes.HasPrefix(v.Name("b/a/x"), v.Branch("a/")) {
		t.Error("a record is named as a branch is")
	}
	if got := string(v.Name("keys/EdDSA")); got != "okeys/EdDSA" {
		t.Errorf("what must be found before there is a root key is named %q", got)
	}
}

func FuzzOpen(f *testing.F) {
	v, slots := testVault(f, 1), testSlots{}
	ours := map[string]bool{}
	for _, w := range []auth.Write{{Key: "user/1", Value: []byte("value")}, {Key: "user/1", Value: []byte("value"), Owner: 1}, {Key: "user/1", Value: []byte("value"), Unlisted: true}} {
		sealed := v.mustSeal(f, w, slots)
		ours[string(sealed)] = true
		f.Add("user/1", sealed)
	}
	f.Add("", []byte{sealFormat})
	f.Fuzz(func(t *testing.T, key string, sealed []byte) {
		plain, err := v.Open(key, sealed, slots.read)
		if err == nil && !ours[string(sealed)] {
			t.Errorf("opened what nobody sealed: %q", plain)
		}
		shown, err := v.Reveal(sealed, slots.read)
		if err == nil && !shown.Unlisted && !ours[string(sealed)] {
			t.Errorf("revealed what nobody sealed: %v", shown)
		}
	})
}

func FuzzSlot(f *testing.F) {
	v := testVault(f, 1)
	key, erased := v.NewSlot(3), v.ErasedSlot(3)
	f.Add(key)
	f.Add(erased)
	f.Add(make([]byte, SlotSize))
	f.Fuzz(func(t *testing.T, held []byte) {
		_, err := v.SlotKey(3, held)
		if ours := bytes.Equal(held, key) || bytes.Equal(held, erased); !ours && !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("took what nobody made: %v", err)
		}
	})
}

func benchmarkOwners(b *testing.B, run func(b *testing.B, v *Vault, w auth.Write, slots testSlots)) {
	for name, w := range map[string]auth.Write{"nobody's": {}, "owned": {Owner: 7}, "unlisted": {Unlisted: true}} {
		b.Run(name, func(b *testing.B) {
			w.Key, w.Value = "session/0123456789abcdefghijkl", make([]byte, 400)
			v := testVault(b, 1)
			b.ReportAllocs()
			run(b, v, w, testSlots{7: v.NewSlot(7)})
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	benchmarkOwners(b, func(b *testing.B, v *Vault, w auth.Write, slots testSlots) {
		for b.Loop() {
			v.mustSeal(b, w, slots)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	benchmarkOwners(b, func(b *testing.B, v *Vault, w auth.Write, slots testSlots) {
		sealed := v.mustSeal(b, w, slots)
		for b.Loop() {
			if _, err := v.Open(w.Key, sealed, slots.read); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkName(b *testing.B) {
	v := testVault(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		v.Name("session/0123456789abcdefghijkl")
	}
}
