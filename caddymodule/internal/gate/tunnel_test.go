package gate

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// dug is a WebSocket through the gate: both of its ends.
type dug struct {
	fake   *fake
	cutter auth.Cutter
	client net.Conn
	read   *bufio.Reader // of the client
	app    net.Conn      // as the handler behind the gate has it
	buffer *bufio.ReadWriter
	leave  chan bool // ends the handler
	left   chan bool // it has ended
}

// digTunnel opens one. early is what the client sends along with its handshake.
func digTunnel(t *testing.T, status int, early string) *dug {
	t.Helper()
	d := &dug{fake: &fake{boarded: make(chan auth.Cutter, 1)}, leave: make(chan bool), left: make(chan bool)}
	g := newGate(t, d.fake, nil)
	taken := make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(d.left)
		serve(g, w, r, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			var err error
			if d.app, d.buffer, err = http.NewResponseController(w).Hijack(); err != nil {
				t.Error(err)
			}
			close(taken)
			<-d.leave
		})
	}))
	t.Cleanup(server.Close)
	var err error
	if d.client, err = net.Dial("tcp", server.Listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.client.Close() })
	_ = d.client.SetDeadline(time.Now().Add(soon))
	_, _ = io.WriteString(d.client, "GET /x HTTP/1.1\r\nHost: app.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-Fetch-Site: same-origin\r\nCookie: __Host-sidegate=good\r\n\r\n"+early)
	await(t, "the connection", taken)
	d.cutter = await(t, "the request", d.fake.boarded)
	t.Cleanup(func() { d.app.Close() })
	d.read = bufio.NewReader(d.client)
	if _, err := http.ReadResponse(d.read, nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// rest is what the client still reads, up to a close frame.
func (d *dug) rest() (text []byte, code int, reason string) {
	all, _ := io.ReadAll(d.read)
	text, last, ok := bytes.Cut(all, []byte{0x88})
	if !ok || len(last) < 3 || int(last[0]) != len(last)-1 {
		return all, 0, ""
	}
	return text, int(binary.BigEndian.Uint16(last[1:])), string(last[3:])
}

func TestCutTellsTheClientWhy(t *testing.T) {
	hello := frameOf(0x81, 5, false, false)
	for name, row := range map[string]struct {
		status int
		write  []byte // by the app
		reason auth.EndReason
		code   int
	}{
		"nothing was written":         {101, nil, auth.EndBanned, 4401},
		"between two frames":          {101, hello, auth.EndLogout, 4401},
		"in the middle of a frame":    {101, hello[:4], auth.EndLogout, 0},
		"nobody knows why":            {101, hello, "", 1001},
		"what is no WebSocket at all": {200, nil, auth.EndLogout, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := digTunnel(t, row.status, "")
			if _, err := d.buffer.Write(row.write); err != nil || d.buffer.Flush() != nil {
				t.Fatal(err)
			}
			d.cutter.Cut(row.reason)
			text, code, reason := d.rest()
			if !bytes.Equal(text, row.write) || code != row.code || code != 0 && reason != string(row.reason) {
				t.Errorf("got %q, %d %q; want %q, %d", text, code, reason, row.write, row.code)
			}
			if _, err := d.app.Write(hello); !errors.Is(err, errCut) {
				t.Errorf("the app still writes: %v", err)
			}
			if _, err := d.app.Read(make([]byte, 10)); !errors.Is(err, errCut) {
				t.Errorf("the app still reads: %v", err)
			}
			close(d.leave)
			await(t, "the end of the handler", d.left)
			for {
				if _, err := d.client.Write(hello); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the connection stays open")
				} else if err != nil {
					break
				}
			}
		})
	}
}

// After the close frame the connection stays for a moment: one that is closed
// with unread bytes in it takes back what the client has not read yet (RFC 2525,
// section 2.17). A client that closes too ends the wait.
func TestCutLingers(t *testing.T) {
	for name, row := range map[string]struct {
		answer []byte
		wait   time.Duration
	}{
		"the client says nothing":   {nil, lingering},
		"the client goes on":        {frameOf(0x81, 3, true, false), lingering},
		"the client closes as well": {append(frameOf(0x81, 3, true, false), frameOf(0x88, 2, true, false)...), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				tun := &tunnel{Conn: server, webSocket: true}
				tun.shut.Store(true)
				tun.closing.Add(1)
				go tun.close(auth.EndLogout)
				go func() { // as a proxy does
					if _, err := tun.Read(make([]byte, 100)); !errors.Is(err, errCut) {
						t.Errorf("the app got %v", err)
					}
				}()
				if _, err := io.ReadFull(client, make([]byte, len(closeFrame(auth.EndLogout)))); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				_, _ = client.Write(row.answer)
				_, _ = io.ReadAll(client)
				if waited := time.Since(began); waited != row.wait {
					t.Errorf("closed after %v, want %v", waited, row.wait)
				}
				time.Sleep(lingering) // until nothing is left
			})
		})
	}
}

// A client who never stops sending reads why, and the app reads no more.
func TestCutTellsATalkativeClient(t *testing.T) {
	for range 5 {
		d := digTunnel(t, 101, "")
		go func() {
			for frame := frameOf(0x81, 1000, true, false); ; {
				if _, err := d.client.Write(frame); err != nil {
					return
				}
			}
		}()
		echoed := make(chan error, 1)
		go func() { // as a proxy does
			_, err := io.Copy(io.Discard, d.app)
			echoed <- err
			d.app.Close()
			close(d.leave)
		}()
		d.fake.hears(t)
		d.cutter.Cut(auth.EndRevoked)
		if _, code, reason := d.rest(); code != 4401 || reason != "revoked" {
			t.Fatalf("got %d %q", code, reason)
		}
		if err := await(t, "the proxy's end", echoed); !errors.Is(err, errCut) {
			t.Errorf("the app got %v", err)
		}
	}
}

// A client who reads nothing holds nobody up.
func TestCutEndsAStuckWriter(t *testing.T) {
	d := digTunnel(t, 101, "")
	stuck := make(chan error, 1)
	go func() {
		for {
			if _, err := d.app.Write(frameOf(0x82, 60000, false, false)); err != nil {
				stuck <- err
				return
			}
		}
	}()
	for blocked := 0; blocked < 10; time.Sleep(10 * time.Millisecond) {
		if blocked++; !d.writing() {
			blocked = 0
		}
	}
	d.cutter.Cut(auth.EndRevoked)
	await(t, "the writer", stuck)
	closed := make(chan bool)
	go func() { d.app.Close(); close(closed) }()
	await(t, "the end", closed)
}

// writing reports whether the app is in Write at this moment.
func (d *dug) writing() bool {
	mu := &d.app.(*tunnel).mu
	if mu.TryLock() {
		mu.Unlock()
		return false
	}
	return true
}

func TestTunnelHearsWhatThePersonSends(t *testing.T) {
	for name, row := range map[string]struct {
		status      int
		early, text []byte
		active      bool
	}{
		"a text":                        {101, nil, frameOf(0x81, 3, true, false), true},
		"a pong":                        {101, nil, frameOf(0x8a, 3, true, false), false},
		"a text, with the handshake":    {101, frameOf(0x81, 3, true, false), nil, true},
		"a pong, with the handshake":    {101, frameOf(0x8a, 3, true, false), nil, false},
		"anything, without a WebSocket": {200, nil, frameOf(0x8a, 3, true, false), true},
		"half of a text, then the rest": {101, frameOf(0x81, 3, true, false)[:3], frameOf(0x81, 3, true, false)[3:], true},
		"half of a pong, then the rest": {101, frameOf(0x8a, 3, true, false)[:3], frameOf(0x8a, 3, true, false)[3:], false},
	} {
		t.Run(name, func(t *testing.T) {
			d := digTunnel(t, row.status, string(row.early))
			defer close(d.leave)
			if n := d.buffer.Reader.Buffered(); n > len(row.early) {
				t.Errorf("%d bytes are buffered", n)
			}
			if _, err := d.client.Write(row.text); err != nil {
				t.Fatal(err)
			}
			want := append(bytes.Clone(row.early), row.text...)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(d.buffer, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("the app read %q, %v; want %q", got, err, want)
			}
			if _, err := d.app.Write(frameOf(0x81, 3, false, false)); err != nil { // no activity of theirs
				t.Fatal(err)
			}
			if active := d.fake.active.Load() > 0; active != row.active {
				t.Errorf("counts as activity: %v, want %v", active, row.active)
			}
		})
	}
}

// A handler may give the connection to somebody else and come back.
func TestTunnelOutlivesItsHandler(t *testing.T) {
	d := digTunnel(t, 101, "")
	close(d.leave)
	await(t, "the handler", d.left)
	if _, err := d.app.Write([]byte{0x89, 0}); err != nil {
		t.Fatal(err)
	}
	d.cutter.Cut(auth.EndIdle)
	if text, code, _ := d.rest(); string(text) != "\x89\x00" || code != 4401 {
		t.Errorf("got %q, %d", text, code)
	}
}

// One that is closed is on board no more, and one that is cut neither.
func TestTunnelLeaves(t *testing.T) {
	for name, end := range map[string]func(d *dug){
		"closed by the app": func(d *dug) { d.app.Close() },
		"cut":               func(d *dug) { d.cutter.Cut(auth.EndLogout); _, _, _ = d.rest() },
	} {
		d := digTunnel(t, 101, "")
		end(d)
		close(d.leave)
		await(t, "the handler", d.left)
		if !d.cutter.(*Passage).trip.done {
			t.Errorf("%s: it is still on board", name)
		}
		d.cutter.Cut(auth.EndLogout) // late, and harmless
		_ = d.app.Close()
	}
}

func TestTunnelClosesHalf(t *testing.T) {
	d := digTunnel(t, 101, "")
	defer close(d.leave)
	if err := d.app.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(d.read); err != nil || len(text) > 0 {
		t.Errorf("the client read %q, %v", text, err)
	}
	if _, err := io.WriteString(d.client, "still here"); err != nil {
		t.Error(err)
	}
	if text, err := io.ReadAll(io.LimitReader(d.app, 10)); string(text) != "still here" {
		t.Errorf("the app read %q, %v", text, err)
	}
	whole := &tunnel{Conn: struct{ net.Conn }{}}
	if err := whole.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a connection that cannot: %v", err)
	}
}

// A hijack that fails leaves everything as it was.
func TestNoTunnel(t *testing.T) {
	r := request(t, "GET", "/x", "Authorization: Bearer ours-good")
	w := httptest.NewRecorder()
	serve(newGate(t, &fake{}, nil), w, r, func(w http.ResponseWriter, _ *http.Request) {
		if _, _, err := http.NewResponseController(w).Hijack(); err == nil {
			t.Error("a recorder has a connection")
		}
		fmt.Fprint(w, "no matter")
	})
	if !strings.Contains(w.Body.String(), "no matter") {
		t.Errorf("got %q", w.Body)
	}
}
