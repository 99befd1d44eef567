package gate

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// frameOf is a frame by the book, with the longest form of its length or the
// shortest.
func frameOf(first byte, payload int, masked, long bool) []byte {
	b := []byte{first}
	switch {
	case long:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(payload))
	case payload > 125:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(payload))
	default:
		b = append(b, byte(payload))
	}
	if masked {
		b[1] |= 0x80
		b = append(b, 1, 2, 3, 4)
	}
	return append(b, bytes.Repeat([]byte{0x89}, payload)...)
}

func TestFrames(t *testing.T) {
	for name, row := range map[string]struct {
		bytes   []byte
		said    bool
		between bool
	}{
		"nothing":                         {nil, false, true},
		"a text":                          {frameOf(0x81, 5, true, false), true, true},
		"an empty text":                   {frameOf(0x81, 0, true, false), true, true},
		"a text of 200":                   {frameOf(0x81, 200, true, false), true, true},
		"a text of 70000":                 {frameOf(0x82, 70000, false, true), true, true},
		"the first part of a text":        {frameOf(0x01, 5, true, false), true, true},
		"a compressed text":               {frameOf(0xc1, 5, true, false), true, true},
		"a pong":                          {frameOf(0x8a, 5, true, false), false, true},
		"a ping without a word":           {frameOf(0x89, 0, true, false), false, true},
		"a close":                         {frameOf(0x88, 2, true, false), false, true},
		"pongs":                           {bytes.Repeat(frameOf(0x8a, 3, true, false), 3), false, true},
		"a pong, then a text":             {append(frameOf(0x8a, 3, true, false), frameOf(0x81, 3, true, false)...), true, true},
		"half a head":                     {[]byte{0x81}, false, false},
		"half a mask":                     {[]byte{0x81, 0x85, 1, 2}, false, false},
		"half a length":                   {[]byte{0x81, 127, 0, 0}, false, false},
		"half a text":                     {frameOf(0x81, 9, true, false)[:10], true, false},
		"half a pong":                     {frameOf(0x8a, 9, true, false)[:10], false, false},
		"lines of text without any frame": {[]byte("hello\n"), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			var f frames
			if said := f.follow(row.bytes); said != row.said || f.between() != row.between {
				t.Errorf("said %v, between %v; want %v, %v", said, f.between(), row.said, row.between)
			}
		})
	}
}

// A client chooses where the network cuts its bytes: that must not matter.
func FuzzFrames(f *testing.F) {
	for _, seed := range [][]byte{frameOf(0x81, 200, true, false), frameOf(0x82, 300, false, true), frameOf(0x8a, 3, true, false), []byte("lines\n")} {
		f.Add(seed, seed, uint8(3))
	}
	f.Fuzz(func(t *testing.T, one, two []byte, step uint8) {
		text := append(bytes.Clone(one), two...)
		var whole, parts frames
		said := whole.follow(text)
		var saidParts bool
		for rest := text; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			saidParts = parts.follow(rest[:n]) || saidParts
			rest = rest[n:]
		}
		whole.head, parts.head = [14]byte{}, [14]byte{} // of frames that are over
		if said != saidParts || whole != parts {
			t.Errorf("in one: %v %+v, in parts: %v %+v", said, whole, saidParts, parts)
		}
	})
}
