//go:build unix

package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// BenchmarkStreamMemory is what an idle stream takes, through bare Caddy and
// through the gate. Client and app are in it too, the same for both: the
// difference is the gate's. Run it with -benchtime 1x.
func BenchmarkStreamMemory(b *testing.B) {
	const streams = 2000
	for _, kind := range []string{"ws", "quiet"} {
		var bare float64
		for _, gate := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/gate=%v", kind, gate), func(b *testing.B) {
				s := newIdle(b, gate)
				header := "Accept: */*\r\n"
				if kind == "ws" {
					header = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
				}
				if gate {
					var who warmGate
					who.signIn(b, s.address)
					header += "Authorization: " + bearer(who.tokens) + "\r\n"
				}
				s.open(b, kind, header, 10) // what comes once
				before := memory()
				conns := s.open(b, kind, header, streams)
				each := float64(memory()-before) / streams
				runtime.KeepAlive(conns)
				b.ReportMetric(each, "B/stream")
				if !gate {
					bare = each
				} else if bare > 0 {
					b.ReportMetric(each-bare, "more-than-bare")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// memory is what is in use after a collection: the heap, and the stacks.
func memory() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// newIdle is a site with or without the gate.
func newIdle(b *testing.B, gate bool) *site {
	s := &site{t: nil, dir: b.TempDir(), address: freeAddress(b), client: &http.Client{}}
	app := newUpstream(b)
	app.answerWith(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "ws") {
			webSocketApp(w)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	s.upstream = app
	config := s.config(noLimits, "", "")
	if !gate {
		i := strings.LastIndex(config, "sidegate {")
		_, rest, _ := strings.Cut(config[i:], "}")
		config = config[:i] + rest
	}
	config = strings.Replace(config, "level DEBUG", "level INFO", 1)
	if err := caddy.Load(adapt(b, config), true); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = caddy.Stop() })
	return s
}

// open opens streams and leaves them idle.
func (s *site) open(b *testing.B, kind, header string, n int) (conns []net.Conn) {
	b.Helper()
	for range n {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		_, _ = fmt.Fprintf(conn, "GET /%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", kind, s.address, header)
		answer, err := http.ReadResponse(bufio.NewReaderSize(io.LimitReader(conn, 4096), 16), nil)
		if err != nil || answer.StatusCode >= 400 {
			b.Fatal(err, answer)
		}
		conns = append(conns, conn)
	}
	return conns
}
