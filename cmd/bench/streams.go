//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// crowd is how many WebSockets there are, of how many sessions, and how many of
// those sessions end.
type crowd struct{ sockets, sessions, ending int }

// benchStreams is `bench streams`: what an open WebSocket costs in memory over
// a bare reverse_proxy, and how soon those of sessions that end are closed.
func benchStreams(args []string) error {
	var c crowd
	flags := flag.NewFlagSet("bench streams", flag.ExitOnError) // which ends the process itself
	flags.IntVar(&c.sockets, "sockets", 10000, "open WebSockets")
	flags.IntVar(&c.sessions, "sessions", 1000, "sessions that they belong to")
	flags.IntVar(&c.ending, "ending", 500, "sessions that end")
	_ = flags.Parse(args)
	if c.sessions < perUser || c.sessions%perUser != 0 || c.sockets < c.sessions || c.ending < 1 || c.ending > c.sessions {
		return fmt.Errorf("-sessions is a multiple of %d with at least one socket for each, and some of them end", perUser)
	}
	dir, err := os.MkdirTemp("", "sidegate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("%s WebSockets of %s sessions, %d processors, %s %s/%s\n\n",
		thousands(c.sockets), thousands(c.sessions), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Printf("%-32s %8s %8s %8s\n", "bytes of the proxy, each", "heap", "stacks", "resident")
	bare, err := c.through(dir, site{kind: 0, proxy: inMemory}, memory{})
	if err != nil {
		return fmt.Errorf("bare: %w", err)
	}
	_, err = c.through(dir, site{kind: 2, proxy: inMemory, people: c.sessions / perUser}, bare)
	return err
}

// through opens the sockets through one kind of proxy, prints what each costs
// there, and returns it. Of the gate it then ends sessions.
func (c crowd) through(dir string, s site, bare memory) (each memory, err error) {
	server, err := startSite(dir, s, 0)
	if err != nil {
		return each, err
	}
	defer server.stop()
	tokens := make([]string, c.sessions)
	if s.people > 0 {
		if tokens, err = signIn(server.address, s.people, perUser); err != nil {
			return each, err
		}
	}
	before, err := server.memory()
	if err != nil {
		return each, err
	}
	sockets, err := c.open(server.address, tokens)
	defer func() {
		for _, s := range sockets {
			s.conn.Close()
		}
	}()
	if err != nil {
		return each, err
	}
	after, err := server.memory()
	if err != nil {
		return each, err
	}
	n := int64(c.sockets)
	each = memory{
		Heap: (after.Heap - before.Heap) / n, Stacks: (after.Stacks - before.Stacks) / n, Resident: (after.Resident - before.Resident) / n,
	}
	if s.people == 0 {
		printEach("bare reverse_proxy", each)
		return each, nil
	}
	printEach("gate", each)
	printEach("the gate adds", memory{Heap: each.Heap - bare.Heap, Stacks: each.Stacks - bare.Stacks, Resident: each.Resident - bare.Resident})
	e, err := c.end(server, tokens, sockets)
	if err != nil {
		return each, err
	}
	return each, e.report()
}

func printEach(name string, m memory) {
	fmt.Printf("%-32s %8d %8d %8d\n", name, m.Heap, m.Stacks, m.Resident)
}

// socket is the client of a WebSocket. What its goroutine sets may be read when
// ended is closed.
type socket struct {
	conn   net.Conn
	reader *bufio.Reader
	echoes chan struct{}
	ended  chan struct{}
	at     time.Time // when the connection was closed
	code   uint16    // of the close frame; 0: there was none
}

// open opens all sockets, those of one session side by side.
func (c crowd) open(address string, tokens []string) ([]*socket, error) {
	sockets := make([]*socket, c.sockets)
	err := together(c.sockets, func(i int) (err error) {
		sockets[i], err = openSocket(address, tokens[c.sessionOf(i)])
		return err
	})
	return slices.DeleteFunc(sockets, func(s *socket) bool { return s == nil }), err
}

// together does something n times, a few at once, until one fails.
func together(n int, do func(i int) error) error {
	failures := make([]error, lines)
	var next atomic.Int64
	var wg sync.WaitGroup
	for line := range lines {
		wg.Go(func() {
			for i := int(next.Add(1) - 1); i < n && failures[line] == nil; i = int(next.Add(1) - 1) {
				failures[line] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(failures...)
}

func (c crowd) sessionOf(socket int) int { return socket * c.sessions / c.sockets }

func openSocket(address, token string) (*socket, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, reader: bufio.NewReaderSize(conn, 512), echoes: make(chan struct{}, 1), ended: make(chan struct{})}
	_, err = fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n\r\n", address, token)
	if err == nil {
		var answer *http.Response
		if answer, err = http.ReadResponse(s.reader, nil); err == nil && answer.StatusCode != http.StatusSwitchingProtocols {
			err = errors.New(answer.Status)
		}
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	go s.listen()
	return s, nil
}

// listen does what a browser does, until the end.
func (s *socket) listen() {
	defer close(s.ended)
	for {
		opcode, payload, err := readFrame(s.reader)
		switch {
		case err != nil:
			s.at = time.Now()
			return
		case opcode == opClose && len(payload) >= 2:
			s.code = binary.BigEndian.Uint16(payload)
			_, _ = s.conn.Write(frame(opClose, payload[:2], true))
		default:
			s.echoes <- struct{}{}
		}
	}
}

const closeWait = 10 * time.Second

// echoed reports whether what is sent through still comes back.
func (s *socket) echoed() bool {
	if _, err := s.conn.Write(frame(opText, []byte("hello"), true)); err != nil {
		return false
	}
	select {
	case <-s.echoes:
		return true
	case <-s.ended:
	case <-time.After(closeWait):
	}
	return false
}

// closed waits for the end.
func (s *socket) closed() bool {
	select {
	case <-s.ended:
		return s.code == 4401
	case <-time.After(closeWait):
		return false
	}
}

// ending is what came of the end of some sessions.
type ending struct {
	signedOut, toLast, work time.Duration
	took                    []float64 // milliseconds that each socket outlived its session's end by
	gone, stayed, left      int       // sockets of the ended sessions, and of the others
}

// end signs the first sessions out, a few at a time, and looks at all sockets.
func (c crowd) end(server *child, tokens []string, sockets []*socket) (e ending, err error) {
	answered := make([]time.Time, c.ending)
	before, err := server.processorTime()
	if err != nil {
		return e, err
	}
	began := time.Now()
	err = together(c.ending, func(i int) error {
		defer func() { answered[i] = time.Now() }()
		return post(server.address, "/logout", tokens[i], struct{}{}, nil)
	})
	if err != nil {
		return e, err
	}
	e.signedOut = time.Since(began)
	for i, s := range sockets {
		session := c.sessionOf(i)
		if session >= c.ending {
			e.left++
			continue
		}
		e.gone++
		if s.closed() {
			e.took = append(e.took, float64(s.at.Sub(answered[session]).Microseconds())/1000)
			e.toLast = max(e.toLast, s.at.Sub(began))
		}
	}
	after, err := server.processorTime()
	if err != nil {
		return e, err
	}
	e.work = after - before
	for _, s := range sockets[e.gone:] {
		if s.echoed() {
			e.stayed++
		}
	}
	return e, nil
}

func (e ending) report() error {
	slices.Sort(e.took)
	fmt.Printf("\nfirst sign-out to last answer:   %d ms\n", e.signedOut.Milliseconds())
	fmt.Printf("their sockets closed with 4401:  %s of %s\n", thousands(len(e.took)), thousands(e.gone))
	fmt.Printf("others that go on:               %s of %s\n", thousands(e.stayed), thousands(e.left))
	if len(e.took) < e.gone || e.stayed < e.left {
		return errors.New("FAIL: not exactly the sockets of the ended sessions were closed")
	}
	slowest := e.took[len(e.took)-1]
	middle, _, _ := quartiles(e.took)
	fmt.Printf("closed after the session's end:  median %.0f ms, p99 %.0f ms, slowest %.0f ms (at most 1000)\n", middle, e.took[len(e.took)*99/100], slowest)
	fmt.Printf("first sign-out to last socket:   %d ms\n", e.toLast.Milliseconds())
	fmt.Printf("processor time of the proxy:     %d ms\n", e.work.Milliseconds())
	if slowest > 1000 {
		return errors.New("FAIL: a socket outlived its session by more than a second")
	}
	fmt.Println("pass")
	return nil
}

// inMemory are the lines of a reverse_proxy to the app in memory.
const inMemory = "\t\ttransport inside\n"

const (
	opText  = 1
	opClose = 8
)

// frame is a whole WebSocket frame (RFC 6455, section 5.2); those of clients are
// masked, here with zeros.
func frame(opcode byte, payload []byte, masked bool) []byte {
	head := []byte{0x80 | opcode, byte(len(payload))}
	if masked {
		head = append(head, 0, 0, 0, 0)
		head[1] |= 0x80
	}
	return append(head, payload...)
}

func readFrame(r io.Reader) (opcode byte, payload []byte, err error) {
	head := make([]byte, 2, 6)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	if head[1]&0x80 != 0 {
		if _, err := io.ReadFull(r, head[2:6]); err != nil {
			return 0, nil, err
		}
	}
	payload = make([]byte, head[1]&0x7f) // nobody here sends more than 125 bytes
	_, err = io.ReadFull(r, payload)
	return head[0] & 0x0f, payload, err
}

// inside is how reverse_proxy comes to the app here: in memory, in its own
// process. To another process ten thousand streams would need twenty thousand
// open files, which many a machine does not allow.
type inside struct{ way *http.Transport }

func init() { caddy.RegisterModule(new(inside)) }

// CaddyModule returns the Caddy module information.
func (*inside) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.inside", New: func() caddy.Module { return new(inside) }}
}

// UnmarshalCaddyfile reads: transport inside
func (*inside) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

// Provision makes the way to the app.
func (t *inside) Provision(caddy.Context) error {
	t.way = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go echo(far)
		return near, nil
	}}
	return nil
}

// RoundTrip implements http.RoundTripper.
func (t *inside) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Scheme = "http"
	return t.way.RoundTrip(r)
}

// echo is the app: it takes a WebSocket and sends back what comes.
func echo(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 1024)
	_, err := http.ReadRequest(reader)
	if err == nil {
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	}
	for err == nil {
		var opcode byte
		var payload []byte
		if opcode, payload, err = readFrame(reader); err == nil {
			_, err = conn.Write(frame(opcode, payload, false))
		}
	}
}
