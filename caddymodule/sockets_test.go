//go:build unix

package caddymodule_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/sidegate/sidegate/caddymodule"
)

func init() {
	caddy.RegisterNetwork("test-pipe", func(context.Context, string, string, string, uint, net.ListenConfig) (any, error) {
		return pipes{make(chan struct{}), new(sync.Once)}, nil
	})
	caddy.RegisterModule(Sink{})
	httpcaddyfile.RegisterHandlerDirective("test_sink", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return Sink{}, nil })
}

// pipes is a listener in memory: ten thousand connections are more files than
// many a machine lets a process open.
type pipes struct {
	closed chan struct{}
	once   *sync.Once
}

var dialled = make(chan net.Conn)

func dialPipe(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	dialled <- server
	return client, nil
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-dialled:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "test-pipe", Net: "unix"} }

// Sink is a WebSocket app in Caddy itself: it takes what comes and says nothing.
type Sink struct{}

// CaddyModule returns the Caddy module information.
func (Sink) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_sink", New: func() caddy.Module { return Sink{} }}
}

func (Sink) ServeHTTP(w http.ResponseWriter, _ *http.Request, _ caddyhttp.Handler) error {
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, 64))
	return nil
}

// crowd are the sessions of many people, each with some WebSockets.
type crowd struct {
	*site
	cookies []string
	open    sync.WaitGroup
	ended   [][]time.Time // of each session's sockets; zero: it is open
	told    atomic.Int64  // sockets that were told why
	mu      sync.Mutex
}

func newMultitude(t *testing.T, sessions, each int) *crowd {
	c := &crowd{site: newSite(t), ended: make([][]time.Time, sessions)}
	c.client.Transport.(*http.Transport).DialContext = dialPipe
	config := strings.Replace(c.config("", "", ""), "bind 127.0.0.1", "bind test-pipe/here", 1)
	config = strings.Replace(config, "store badger", "store counted", 1)
	config = strings.Replace(config, "level DEBUG", "level INFO", 1)
	config = strings.Replace(config, "\treverse_proxy "+c.upstream.address, "\ttest_sink", 1)
	c.load(strings.Replace(config, "{\n", "{\n\torder test_sink last\n", 1))
	t.Cleanup(func() { _ = caddy.Stop() })
	ctx := caddy.ActiveContext()
	app, err := ctx.App("sidegate")
	if err != nil {
		t.Fatal(err)
	}
	ids := (&warmGate{app: app.(*caddymodule.App)}).populate(t, sessions)
	for _, id := range ids {
		c.cookies = append(c.cookies, "sidegate="+caddymodule.CookieOf(app.(*caddymodule.App), id))
	}
	for i := range sessions {
		c.ended[i] = make([]time.Time, each)
		for j := range each {
			c.open.Add(1)
			go c.socket(i, j)
		}
	}
	c.open.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return c
}

// socket is one WebSocket, from beginning to end.
func (c *crowd) socket(session, number int) {
	opened := sync.OnceFunc(c.open.Done)
	defer opened()
	conn, _ := dialPipe(c.t.Context(), "", "")
	defer conn.Close()
	_, err := fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-Fetch-Site: same-origin\r\nCookie: %s\r\n\r\n", c.address, c.cookies[session])
	reader := bufio.NewReaderSize(conn, 512)
	answer, err2 := http.ReadResponse(reader, nil)
	if err != nil || err2 != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		c.t.Errorf("no WebSocket: %v, %v, %v", err, err2, answer)
		return
	}
	opened()
	opcode, payload, _ := readFrame(reader)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[session][number] = time.Now()
	if opcode == 8 && len(payload) >= 2 && binary.BigEndian.Uint16(payload) == 4401 {
		c.told.Add(1)
	}
}

// Of ten thousand WebSockets of a thousand people exactly those of the five
// hundred who sign out end, each within a second.
func TestTenThousandWebSockets(t *testing.T) {
	const each = 10
	sessions, leaving := 1000, 500
	if raceDetector {
		sessions, leaving = 200, 100
	}
	c := newMultitude(t, sessions, each)
	answered := make([]time.Time, leaving)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(leaving); i = next.Add(1) - 1 {
				wants(t, "logout", c.do("POST", apiPath+"/logout", nil, "Cookie", c.cookies[i], "Sec-Fetch-Site", "same-origin"), http.StatusNoContent, "")
				answered[i] = time.Now()
			}
		})
	}
	wg.Wait()
	waitFor(t, "the sockets to end", func() bool { return c.told.Load() >= int64(leaving*each) || t.Failed() })
	c.mu.Lock()
	defer c.mu.Unlock()
	var slowest time.Duration
	for i, sockets := range c.ended {
		for _, at := range sockets {
			switch {
			case i >= leaving && !at.IsZero():
				t.Fatalf("a socket of session %d, which goes on, has ended", i)
			case i < leaving:
				slowest = max(slowest, at.Sub(answered[i]))
			}
		}
	}
	// Within a second on a machine that is free for it: cmd/bench streams.
	if slowest > 5*time.Second && !raceDetector {
		t.Errorf("the last socket ended %v after its session", slowest)
	}
	t.Logf("the last socket ended %v after its session", slowest)
}
