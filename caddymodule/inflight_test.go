package caddymodule_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/quic-go/quic-go/http3"
)

// streamSite is a site whose app answers with streams of all kinds: plain, and
// with TLS on an address of its own, where HTTP/2 is.
type streamSite struct {
	*site
	office *office
	app    *streamApp
	secure string
	h2, h3 *http.Client

	certificate string // file with its key
}

// oneStrike is a proxy for which an upstream that has failed once is down.
const oneStrike = `reverse_proxy %s {
		fail_duration 1m
		max_fails 1
		%s
	}
`

func newStreamSite(t *testing.T) *streamSite {
	office := newOffice(t, socket(t))
	s := &streamSite{site: office.site, office: office, app: &streamApp{begun: make(chan string, 100)}, secure: freeAddress(t)}
	server := httptest.NewServer(s.app)
	t.Cleanup(server.Close)
	s.upstream.address = strings.TrimPrefix(server.URL, "http://")
	s.client.Timeout = 0
	s.certificate = selfSigned(t)
	s.h2 = &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	t.Cleanup(s.h2.CloseIdleConnections)
	quic := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(func() { quic.Close() })
	s.h3 = &http.Client{Transport: quic}
	return s
}

// caddyfile has the same site twice.
func (s *streamSite) caddyfile(global, proxy string) string {
	text := strings.Replace(s.config(noLimits+"\n"+global, "public /open/*", "log"), "admin off", "admin "+s.office.address, 1)
	text = strings.Replace(text, "reverse_proxy "+s.upstream.address+"\n", fmt.Sprintf(oneStrike, s.upstream.address, proxy), 1)
	_, block, _ := strings.Cut(text, "\nhttp://"+s.address)
	return text + "https://" + s.secure + strings.Replace(block, "bind 127.0.0.1", "bind 127.0.0.1\ntls "+s.certificate+" "+s.certificate, 1)
}

// selfSigned makes a certificate. One of Caddy's own authority would come while
// Caddy starts, and race with that.
func selfSigned(t *testing.T) (file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"app.example.com"},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	file = filepath.Join(t.TempDir(), "site.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func startStreams(t *testing.T, global string) *streamSite {
	t.Helper()
	s := newStreamSite(t)
	s.load(s.caddyfile(global, ""))
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	return s
}

// streamApp is an app whose answers end when nobody listens any more.
type streamApp struct {
	begun chan string // the path of each request that has come
	leave func(w http.ResponseWriter, r *http.Request)
}

func (a *streamApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	if kind == "upload" {
		_, _ = io.CopyN(io.Discard, r.Body, 1)
	}
	select {
	case a.begun <- kind:
	default:
	}
	switch kind {
	case "ws":
		webSocketApp(w)
	case "sse":
		w.Header().Set("Content-Type", "text/event-stream")
		trickle(w, r, "data: x\n\n")
	case "download":
		w.Header().Set("Content-Length", "1099511627776")
		trickle(w, r, strings.Repeat("x", 4096))
	case "poll":
		<-r.Context().Done()
	case "upload":
		_, _ = io.Copy(io.Discard, r.Body)
	case "leave":
		a.leave(w, r)
	}
}

func trickle(w http.ResponseWriter, r *http.Request, text string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// webSocketApp sends back what it gets.
func webSocketApp(w http.ResponseWriter) {
	conn, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	for {
		opcode, payload, err := readFrame(buffer.Reader)
		if err != nil {
			return
		}
		if opcode == 1 {
			_, err = conn.Write(frame(opcode, payload, false))
		}
		if err != nil {
			return
		}
	}
}

// frame is a whole WebSocket frame; those of clients are masked (RFC 6455,
// section 5.2), here with zeros.
func frame(opcode byte, payload []byte, masked bool) []byte {
	head := []byte{0x80 | opcode, byte(len(payload))}
	if masked {
		head = append(head, 0, 0, 0, 0)
		head[1] |= 0x80
	}
	return append(head, payload...)
}

func readFrame(r io.Reader) (opcode byte, payload []byte, err error) {
	head := make([]byte, 2)
	if _, err = io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	length := int(head[1] & 0x7f)
	if length > 125 {
		return 0, nil, errors.New("a long frame, which nobody here sends")
	}
	if head[1]&0x80 != 0 {
		_, _ = io.ReadFull(r, make([]byte, 4))
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(r, payload)
	return head[0] & 0x0f, payload, err
}

// stream is something in flight, seen by its client.
type stream struct {
	name  string
	alive chan struct{} // something has come
	ended chan struct{} // closed at its end; what follows is then set
	at    time.Time
	close string // of a WebSocket: code and reason; else the error
	conn  net.Conn
}

func (s *stream) end() {
	s.at = time.Now()
	close(s.ended)
}

func (s *stream) heard() {
	select {
	case s.alive <- struct{}{}:
	default:
	}
}

func newStream(name string) *stream {
	return &stream{name: name, alive: make(chan struct{}, 1), ended: make(chan struct{})}
}

const soon = 10 * time.Second

// flows waits for the next sign of life.
func (s *stream) flows(t *testing.T) {
	t.Helper()
	select {
	case <-s.alive: // from before
	default:
	}
	if s.conn != nil {
		s.say("hello")
	}
	select {
	case <-s.alive:
	case <-s.ended:
		t.Errorf("%s has ended (%s)", s.name, s.close)
	case <-time.After(soon):
		t.Errorf("%s gives no sign of life", s.name)
	}
}

func (s *stream) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// raceDetector is set when the detector of races slows everything down. It also
// takes the start of Caddy's tls app, whose field a handshake over HTTP/3 reads,
// for a race, when the http app has started first: so HTTP/3 is tested without
// it, and HTTP/2 takes its place under it.
var raceDetector bool

// endsWithin wants the stream to end within a second of an instant.
func (s *stream) endsWithin(t *testing.T, since time.Time, close string) {
	t.Helper()
	select {
	case <-s.ended:
		if took := s.at.Sub(since); took > time.Second && !raceDetector {
			t.Errorf("%s ended after %v", s.name, took)
		}
	case <-time.After(soon):
		t.Errorf("%s does not end", s.name)
		return
	}
	if s.conn != nil && s.close != close {
		t.Errorf("%s closed with %q, want %q", s.name, s.close, close)
	}
	if s.close == io.EOF.Error() {
		t.Errorf("%s looks complete", s.name)
	}
}

func (s *stream) say(text string) { _, _ = s.conn.Write(frame(1, []byte(text), true)) }

// webSocket opens a WebSocket, with TLS or without.
func (s *streamSite) webSocket(path string, overTLS bool, header ...string) *stream {
	s.t.Helper()
	w := newStream(fmt.Sprintf("WebSocket (TLS %v)", overTLS))
	var conn net.Conn
	var err error
	if overTLS {
		conn, err = tls.Dial("tcp", s.secure, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	} else {
		conn, err = net.Dial("tcp", s.address)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	reader := s.upgrade(conn, path, header)
	w.conn = conn
	go func() {
		defer w.end()
		for {
			opcode, payload, err := readFrame(reader)
			switch {
			case err != nil:
				return
			case opcode == 8 && len(payload) >= 2:
				w.close = fmt.Sprintf("%d %s", binary.BigEndian.Uint16(payload), payload[2:])
				_, _ = conn.Write(frame(8, payload[:2], true)) // as browsers do
			default:
				w.heard()
			}
		}
	}()
	w.flows(s.t)
	return w
}

func (s *streamSite) upgrade(conn net.Conn, path string, header []string) *bufio.Reader {
	s.t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", path, conn.RemoteAddr())
	fmt.Fprint(&text, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
	for i := 0; i+1 < len(header); i += 2 {
		fmt.Fprintf(&text, "%s: %s\r\n", header[i], header[i+1])
	}
	if _, err := io.WriteString(conn, text.String()+"\r\n"); err != nil {
		s.t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatalf("no WebSocket: %v, %v", answer, err)
	}
	return reader
}

// request opens any other kind, over HTTP/1.1, 2 or 3.
func (s *streamSite) request(path string, version int, header ...string) *stream {
	s.t.Helper()
	w := newStream(fmt.Sprintf("%s (HTTP/%d)", path, version))
	client, address := s.client, "http://"+s.address
	switch version {
	case 2:
		client, address = s.h2, "https://"+s.secure
	case 3:
		client, address = s.h3, "https://"+s.secure
		if raceDetector {
			client = s.h2
		}
	}
	var body io.Reader
	method := "GET"
	if strings.HasSuffix(path, "upload") {
		method, body = "POST", w.sends(s.t)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, address+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	go func() {
		defer w.end()
		resp, err := client.Do(req)
		if err != nil {
			w.close = err.Error()
			return
		}
		defer resp.Body.Close()
		w.close = fmt.Sprint(resp.Status, resp.ProtoMajor)
		for buffer := make([]byte, 4096); ; {
			n, err := resp.Body.Read(buffer)
			if n > 0 {
				w.heard()
			}
			if err != nil {
				w.close = err.Error()
				return
			}
		}
	}()
	select {
	case <-s.app.begun:
	case <-w.ended:
		s.t.Fatalf("%s: %s", w.name, w.close)
	case <-time.After(soon):
		s.t.Fatalf("%s never reached the app", w.name)
	}
	return w
}

// sends is a body that trickles.
func (s *stream) sends(t *testing.T) io.Reader {
	r, w := io.Pipe()
	t.Cleanup(func() { r.Close() })
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := w.Write(make([]byte, 100)); err != nil {
				return
			}
			s.heard()
		}
	}()
	return r
}

// everyKind are the paths of streams that are no WebSockets.
var everyKind = []string{"/sse", "/download", "/poll", "/upload"}

// all opens two WebSockets, and a stream of each kind over HTTP/1.1, 2 and 3.
func (s *streamSite) all(who tokens, kinds ...string) (streams []*stream) {
	s.t.Helper()
	header := []string{"Authorization", bearer(who)}
	for _, overTLS := range []bool{false, true} {
		streams = append(streams, s.webSocket("/ws", overTLS, header...))
		<-s.app.begun
	}
	for _, version := range []int{1, 2, 3} {
		for _, path := range kinds {
			streams = append(streams, s.request(path, version, header...))
		}
	}
	return streams
}
