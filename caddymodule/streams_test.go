package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// echo is a WebSocket app, as far as a gate can tell: it takes the connection
// over and sends back each line it gets.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" {
		http.Error(w, "this is a WebSocket", http.StatusUpgradeRequired)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"X-Auth-User-Id: 999\r\nSidegate-Error: session_revoked\r\nSet-Cookie: sidegate=stolen\r\nX-App: kept\r\n\r\n")
	for {
		line, err := buffered.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, "echo "+line); err != nil {
			return
		}
	}
}

// handshake asks for an upgrade in raw bytes and reads the answer's head.
func (s *site) handshake(path, protocol string, header ...string) (net.Conn, *bufio.Reader, *http.Response) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	var text strings.Builder
	fmt.Fprintf(&text, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n", path, s.address, protocol)
	fmt.Fprint(&text, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
	for i := 0; i+1 < len(header); i += 2 {
		fmt.Fprintf(&text, "%s: %s\r\n", header[i], header[i+1])
	}
	if _, err := io.WriteString(conn, text.String()+"\r\n"); err != nil {
		s.t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return conn, reader, answer
}

func TestWebSocket(t *testing.T) {
	s := startSite(t, noLimits, "public /open")
	s.upstream.answerWith(echo)
	who := s.signInWith(testA, nil)
	r := s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": s.start(testA), "code": "424242", "transport": "cookie"})
	cookie, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")

	for name, credential := range map[string][]string{
		"token":  {"Authorization", bearer(who)},
		"cookie": {"Cookie", cookie + "; theme=dark", "Sec-Fetch-Site", "same-origin"},
	} {
		conn, reader, answer := s.handshake("/app", "websocket", append(credential, "X-Auth-User-Id", "7", "X_Auth_User_Id", "7")...)
		if answer.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%s: %s", name, answer.Status)
		}
		for _, line := range []string{"one\n", "two\n"} { // each comes back before the next is sent
			if _, err := io.WriteString(conn, line); err != nil {
				t.Fatal(err)
			}
			if got, err := reader.ReadString('\n'); err != nil || got != "echo "+line {
				t.Fatalf("%s: got %q, %v", name, got, err)
			}
		}
		got := s.upstream.one(t)
		if ids := got.Header.Values("X-Auth-User-Id"); len(ids) != 1 || ids[0] != "1" || got.Header["X_auth_user_id"] != nil {
			t.Errorf("%s: the app heard %v", name, got.Header)
		}
		if got.Header.Get("Authorization") != "" || strings.Contains(got.Header.Get("Cookie"), "sidegate") {
			t.Errorf("%s: the credential reached the app: %v", name, got.Header)
		}
		for _, name := range []string{"X-Auth-User-Id", "Sidegate-Error", "Set-Cookie"} {
			if answer.Header[name] != nil {
				t.Errorf("the app's %s came through a handshake", name)
			}
		}
		if answer.Header.Get("X-App") != "kept" {
			t.Errorf("%s: the app's own header is lost: %v", name, answer.Header)
		}
	}

	for name, row := range map[string]struct {
		status int
		header []string
	}{
		"nobody":            {401, nil},
		"a dead token":      {401, []string{"Authorization", "Bearer nope"}},
		"another site":      {403, []string{"Cookie", cookie, "Sec-Fetch-Site", "cross-site"}},
		"another origin":    {403, []string{"Cookie", cookie, "Origin", "https://evil.example"}},
		"nobody, in a page": {401, []string{"Sec-Fetch-Mode", "websocket", "Accept", "text/html"}},
	} {
		_, _, answer := s.handshake("/app", "websocket", row.header...)
		if answer.StatusCode != row.status || answer.Header.Get("Sidegate-Error") == "" {
			t.Errorf("%s: got %s, want %d", name, answer.Status, row.status)
		}
	}
	for _, got := range s.upstream.take() {
		t.Errorf("a refused handshake reached the app: %v", got.Header)
	}
	for _, protocol := range []string{"h2c", "websocket, h2c", "TLS/1.0"} {
		_, _, answer := s.handshake("/app", protocol, "Authorization", bearer(who))
		if answer.StatusCode != http.StatusUpgradeRequired || s.upstream.one(t).Header.Get("Upgrade") != "" {
			t.Errorf("Upgrade: %s got %s", protocol, answer.Status)
		}
	}
}

// A WebSocket has a connection of its own. HTTP/3 offers one inside of its own
// (RFC 9220) by CONNECT, which is refused whoever asks.
func TestNoWebSocketInsideOfHTTP3(t *testing.T) {
	if raceDetector {
		t.Skip("HTTP/3 is tested without the detector of races")
	}
	s := startStreams(t, "")
	who := s.signInWith(testA, nil)
	for _, path := range []string{"/ws", "/open/ws"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, "https://"+s.secure+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Proto = "websocket"
		req.Header = http.Header{"Authorization": {bearer(who)}, "Sec-Websocket-Version": {"13"}}
		resp, err := s.h3.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Sidegate-Error") != "method_not_allowed" {
			t.Errorf("%s: got %s", path, resp.Status)
		}
	}
}

// Every event of a stream arrives before the app writes the next one: the app
// waits for the client to say so.
func TestEventStreamIsFlushed(t *testing.T) {
	s := startSite(t, noLimits, "public /open")
	seen, ended := make(chan struct{}), make(chan struct{}, 1)
	s.upstream.answerWith(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-seen:
			case <-r.Context().Done():
				return
			}
		}
		<-r.Context().Done() // the client's leaving comes through
		ended <- struct{}{}
	})
	who := s.signInWith(testA, nil)
	for path, header := range map[string]string{"/app": bearer(who), "/open": ""} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.url(path), nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			req.Header.Set("Authorization", header)
		}
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		events := bufio.NewReader(resp.Body)
		for i := range 3 {
			if line, err := events.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("%s: got %q, %v", path, line, err)
			}
			_, _ = events.ReadString('\n')
			seen <- struct{}{}
		}
		resp.Body.Close()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the app never heard that the client left", path)
		}
	}
}

func init() {
	caddy.RegisterModule(Neighbour{})
	httpcaddyfile.RegisterHandlerDirective("test_neighbour", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return Neighbour{}, nil })
}

// Neighbour is a handler right behind the gate that does all that one may do
// with a response.
type Neighbour struct{}

// CaddyModule returns the Caddy module information.
func (Neighbour) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_neighbour", New: func() caddy.Module { return Neighbour{} }}
}

func (Neighbour) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	c := http.NewResponseController(w)
	switch r.URL.Path {
	case "/abilities":
		flush, deadline := c.Flush(), c.SetWriteDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(w, "flush %v, deadline %v", flush, deadline)
		return nil
	case "/hijack":
		conn, _, err := c.Hijack()
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = io.WriteString(conn, "HTTP/1.1 299 Mine\r\nContent-Length: 0\r\n\r\n")
		return err
	case "/late":
		_, _ = io.WriteString(w, "the beginning")
		_ = c.Flush()
		<-r.Context().Done()
		time.Sleep(20 * time.Millisecond) // the deadlines come right after
		return c.SetWriteDeadline(time.Now().Add(time.Minute))
	case "/error":
		return caddyhttp.Error(http.StatusTeapot, fmt.Errorf("no coffee"))
	case "/abort":
		panic(http.ErrAbortHandler)
	}
	return next.ServeHTTP(w, r)
}

// The gate stands in nobody's way: what a handler can do with a response
// without it, it can do behind it.
func TestHandlersBehindTheGate(t *testing.T) {
	s := newSite(t)
	config := s.config(noLimits, "", "handle_errors {\nrespond \"error {err.status_code} of {http.auth.user.id}\" 418\n}")
	config = strings.Replace(config, "\treverse_proxy", "\ttest_neighbour\n\treverse_proxy", 1)
	s.load(strings.Replace(config, "{\n", "{\n\torder test_neighbour before reverse_proxy\n", 1))
	t.Cleanup(func() { _ = caddy.Stop() })
	who := []string{"Authorization", bearer(s.signInWith(testA, nil))}
	if r := s.do("GET", "/abilities", nil, who...); string(r.body) != "flush <nil>, deadline <nil>" {
		t.Errorf("got %q", r.body)
	}
	wants(t, "hijack", s.do("GET", "/hijack", nil, who...), 299, "")
	if r := s.do("GET", "/error", nil, who...); r.status != 418 || string(r.body) != "error 418 of 1" {
		t.Errorf("an error of a handler behind: %d %s", r.status, r.body)
	}
	if r, err := s.try("GET", "/abort", nil, who...); err == nil {
		t.Errorf("an aborted answer came through: %d", r.status)
	}
	wants(t, "after it all", s.do("GET", "/app", nil, who...), 200, "")
}
