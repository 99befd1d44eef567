package vault

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"pgregory.net/rapid"
)

var ticketOf = rapid.Custom(func(t *rapid.T) (ticket auth.Ticket) {
	ticket.Kind = rapid.SampledFrom([]auth.TicketKind{auth.RefreshTicket, auth.CookieTicket}).Draw(t, "kind")
	copy(ticket.SessionID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "session"))
	ticket.Generation = rapid.Uint32().Draw(t, "generation")
	return ticket
})

func TestTicketComesBack(t *testing.T) {
	v := testVault(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		want := ticketOf.Draw(t, "ticket")
		got, ok := v.ParseTicket(v.Ticket(want))
		if !ok || got != want {
			t.Fatalf("got %v, %v, want %v", got, ok, want)
		}
	})
}

// Attack: a generation or a session is changed, or a MAC is guessed from one
// that is known.
func TestTicketWithAFlippedBitIsRefused(t *testing.T) {
	v := testVault(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		text := v.Ticket(ticketOf.Draw(t, "ticket"))
		raw, err := base64.RawURLEncoding.DecodeString(text[prefixSize:])
		if err != nil {
			t.Fatal(err)
		}
		bit := rapid.IntRange(0, 8*len(raw)-1).Draw(t, "bit")
		raw[bit/8] ^= 1 << (bit % 8)
		if _, ok := v.ParseTicket(text[:prefixSize] + base64.RawURLEncoding.EncodeToString(raw)); ok {
			t.Fatalf("accepted with bit %d flipped", bit)
		}
	})
}

func TestCodeHasItsForm(t *testing.T) {
	v := testVault(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		id, length := rapid.String().Draw(t, "id"), rapid.IntRange(0, 200).Draw(t, "length")
		code := v.Code(id, length)
		if len(code) != length || strings.Trim(code, "0123456789") != "" {
			t.Fatalf("code %q of length %d", code, length)
		}
		if code != v.Code(id, length) {
			t.Fatal("another code at the second call")
		}
		if length > 5 && strings.HasPrefix(v.Code(id, length+1), code) {
			t.Fatal("the longer code begins with the shorter one")
		}
	})
}

// Each place of a code must show each digit equally often. The bound is the
// chi-square of nine degrees of freedom at 1 in 100 000; with bytes taken
// modulo ten and nothing passed over it is exceeded at each place.
func TestCodeIsUniform(t *testing.T) {
	const codes, length, bound = 200_000, 6, 39.3
	v := testVault(t, 1)
	var counts [length][10]int
	for i := range codes {
		for place, digit := range []byte(v.Code(strconv.Itoa(i), length)) {
			counts[place][digit-'0']++
		}
	}
	for place, digits := range counts {
		chi := 0.0
		for _, n := range digits {
			d := float64(n) - codes/10.0
			chi += d * d / (codes / 10.0)
		}
		if chi > bound {
			t.Errorf("place %d: chi-square %.1f over %v", place, chi, digits)
		}
	}
}

func FuzzParseTicket(f *testing.F) {
	v := testVault(f, 1)
	f.Add(v.Ticket(auth.Ticket{Kind: auth.RefreshTicket, Generation: 1}))
	f.Add(v.Ticket(auth.Ticket{Kind: auth.CookieTicket, Generation: 1 << 31}))
	f.Add("sgr1_")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if ticket, ok := v.ParseTicket(text); ok && v.Ticket(ticket) != text {
			t.Errorf("%q is another spelling of %q", text, v.Ticket(ticket))
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(strings.Repeat("0a", 32))
	f.Add(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("abcd"), 8)))
	f.Add(" \n")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseKey(text)
		if (err == nil) != (len(key) == KeySize) {
			t.Errorf("%d bytes with error %v", len(key), err)
		}
		if err != nil {
			return
		}
		again, err := ParseKey(base64.StdEncoding.EncodeToString(key))
		if err != nil || !bytes.Equal(again, key) {
			t.Errorf("%x came back as %x, %v", key, again, err)
		}
	})
}

func BenchmarkTicket(b *testing.B) {
	v := testVault(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		v.Ticket(auth.Ticket{Kind: auth.RefreshTicket, Generation: 7})
	}
}

func BenchmarkParseTicket(b *testing.B) {
	v := testVault(b, 1)
	text := v.Ticket(auth.Ticket{Kind: auth.RefreshTicket, Generation: 7})
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := v.ParseTicket(text); !ok {
			b.Fatal("refused")
		}
	}
}

func BenchmarkCode(b *testing.B) {
	v := testVault(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		v.Code("0123456789abcdefghijkl", 6)
	}
}

func BenchmarkIndex(b *testing.B) {
	v := testVault(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		v.Index("phone", "+46701234567")
	}
}
