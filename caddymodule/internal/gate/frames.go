package gate

import "encoding/binary"

// frames follows one direction of a WebSocket from frame to frame (RFC 6455,
// section 5.2). It looks at the heads alone. Bytes that are no WebSocket only
// make it count wrongly.
type frames struct {
	head    [14]byte
	have    int    // bytes of the next frame's head
	left    uint64 // bytes of the current frame's payload that are to come
	control bool   // the current frame is close, ping or pong
	closed  bool   // a frame was close
}

// follow takes the next bytes, and reports whether any is more than the
// machinery of the protocol: what browsers answer to a ping, nobody has typed.
func (f *frames) follow(b []byte) (said bool) {
	for len(b) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(b)))
			f.left -= n
			b = b[n:]
			said = said || !f.control
			continue
		}
		f.head[f.have] = b[0]
		f.have++
		b = b[1:]
		if f.have < f.headLength() {
			continue
		}
		f.begin()
		said = said || !f.control
	}
	return said
}

// headLength is what the part of the head that is there asks for.
func (f *frames) headLength() int {
	const least, mask = 2, 4
	if f.have < least {
		return least
	}
	n := least
	switch f.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.head[1]&0x80 != 0 {
		n += mask
	}
	return n
}

// begin reads a head that is complete.
func (f *frames) begin() {
	switch length := f.head[1] & 0x7f; length {
	case 126:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		f.left = binary.BigEndian.Uint64(f.head[2:])
	default:
		f.left = uint64(length)
	}
	f.have = 0
	first := f.head[0] // a control frame is whole, so its first bit is set
	f.control = first == 0x88 || first == 0x89 || first == 0x8a
	f.closed = f.closed || first == 0x88
}

// between reports whether the last frame is complete, so that another may follow.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 }
