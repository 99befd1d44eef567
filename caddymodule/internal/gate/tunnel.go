package gate

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// tunnel is a connection that a handler has taken over, for a WebSocket.
type tunnel struct {
	net.Conn
	passage   *Passage
	webSocket bool           // frames go through; else who knows
	up        frames         // from the client; of its one reader
	shut      atomic.Bool    // it was cut: close ends it
	closing   sync.WaitGroup // close is about to write

	mu   sync.Mutex // of writing
	down frames
}

const (
	closeSessionEnded = 4401 // of the codes for applications (RFC 6455, section 7.4.2)
	closeGoingAway    = 1001
	// lingering is how long a client is given to read why its connection closes.
	// Closed at once, bytes of its own that nobody has read would make the
	// system throw away what it has not read yet.
	lingering = 250 * time.Millisecond
)

// dig puts the tunnel around a connection and its buffers.
func (p *Passage) dig(conn net.Conn, buffer *bufio.ReadWriter, webSocket bool) net.Conn {
	t := &tunnel{Conn: conn, passage: p, webSocket: webSocket}
	buffer.Writer.Reset(t)
	early, _ := buffer.Reader.Peek(buffer.Reader.Buffered())
	early = slices.Clone(early)
	t.received(len(early), t.up.follow(early))
	buffer.Reader.Reset(io.MultiReader(bytes.NewReader(early), t))
	_, _ = buffer.Reader.Peek(len(early)) // for those who ask what is Buffered
	p.trip.mu.Lock()
	defer p.trip.mu.Unlock()
	p.trip.tunnel = t
	return t
}

// Read reads from the client. After a cut it takes what comes and passes
// nothing on, until the client has closed too.
func (t *tunnel) Read(b []byte) (int, error) {
	for {
		n, err := t.Conn.Read(b)
		said := t.up.follow(b[:n])
		switch {
		case !t.shut.Load():
			t.received(n, said)
			return n, err
		case err != nil, t.up.closed:
			_ = t.Conn.Close()
			return 0, errCut
		}
	}
}

func (t *tunnel) received(n int, said bool) {
	if said || n > 0 && !t.webSocket {
		t.passage.active()
	}
}

// Write writes to the client.
func (t *tunnel) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shut.Load() {
		return 0, errCut
	}
	n, err := t.Conn.Write(b)
	if t.webSocket {
		t.down.follow(b[:n])
	}
	return n, err
}

// CloseWrite closes one direction, where the connection can.
func (t *tunnel) CloseWrite() error {
	if half, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close ends the tunnel, and the trip with it.
func (t *tunnel) Close() error {
	if t.passage.trip.arrive() {
		return t.Conn.Close()
	}
	t.closing.Wait() // the handler returns next, and nobody may write then
	return nil
}

// close ends the tunnel when it is shut because of its session's end. It tells
// the client why, if a frame may begin here.
func (t *tunnel) close(reason auth.EndReason) {
	defer t.closing.Done()
	_ = t.SetDeadline(time.Now().Add(lingering)) // nobody stays in Read or Write
	t.mu.Lock()
	if t.webSocket && t.down.between() {
		_, _ = t.Conn.Write(closeFrame(reason))
	}
	t.mu.Unlock()
	_ = t.CloseWrite()
	time.AfterFunc(lingering, func() { _ = t.Conn.Close() })
}

// closeFrame says that a session has ended, and how.
func closeFrame(reason auth.EndReason) []byte {
	code := uint16(closeSessionEnded)
	if reason == "" {
		code = closeGoingAway
	}
	payload := append(binary.BigEndian.AppendUint16(nil, code), reason...)
	return append([]byte{0x88, byte(len(payload))}, payload...)
}

// arrive ends the trip of a connection that was taken over, unless it has ended.
func (t *trip) arrive() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return false
	}
	t.leave()
	return true
}
