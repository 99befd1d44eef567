package caddymodule_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// wire is an upstream that keeps the very bytes that reached it, also those
// that net/http would not take for a request.
type wire struct {
	mu  sync.Mutex
	got []string
}

func newWire(t *testing.T) (w *wire, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w = new(wire)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(c)
		}
	}()
	return w, l.Addr().String()
}

func (w *wire) serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	var text bytes.Buffer
	if r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &text))); err == nil {
		_, _ = io.Copy(io.Discard, r.Body) // and the trailers
	}
	if text.Len() == 0 {
		return // a connection that was made in advance
	}
	w.mu.Lock()
	w.got = append(w.got, text.String())
	w.mu.Unlock()
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.got
	w.got = nil
	return got
}

// attacker knows one session by its access token and one by its cookie, and
// writes what he likes to the gate. Neither user is an admin.
type attacker struct {
	*site
	wire   *wire
	tokens tokens
	cookie string
	whose  map[string][]string // identity lines by credential
}

func newAttacker(t *testing.T) *attacker {
	t.Helper()
	a := &attacker{site: newSite(t)}
	a.wire, a.upstream.address = newWire(t)
	const limits = `limits {
			phone_sends off
			ip_sends off
			prefix_sends off
		}`
	config := a.config(limits, "public /public/* /healthz\n\t\trequire /admin/* role admin", "")
	a.load(strings.Replace(config, "admin off", "admin off\n\tservers {\n\t\tprotocols h1 h2c\n\t}", 1))
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	a.tokens = a.signIn(phoneA)
	a.cookie = a.cookieOf(phoneA)
	a.whose = map[string][]string{"bearer": a.identity(t, "Authorization: Bearer {token}"), "cookie": a.identity(t, "Cookie: sidegate={cookie}")}
	return a
}

func (a *attacker) cookieOf(phone string) string {
	challenge := a.start(phone)
	r := a.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": a.codeOf(challenge), "transport": "cookie"})
	value, ok := strings.CutPrefix(r.header.Get("Set-Cookie"), "sidegate=")
	if !ok {
		a.t.Fatalf("no cookie: %d %s", r.status, r.body)
	}
	value, _, _ = strings.Cut(value, ";")
	return value
}

// identity is what the upstream hears of an honest client.
func (a *attacker) identity(t *testing.T, credential string) []string {
	t.Helper()
	a.send(t, "GET /app\n"+credential)
	got := a.wire.take()
	if len(got) != 1 {
		t.Fatalf("%s: %d requests reached the upstream", credential, len(got))
	}
	lines := identityLines(got[0])
	if len(lines) != 6 || !slices.Contains(lines, "X-Auth-User-Id: 1") || !slices.Contains(lines, "X-Auth-User-Roles: customer") {
		t.Fatalf("%s: the upstream got %q", credential, got[0])
	}
	return lines
}

// request writes out what a row says: the target, headers and after an empty
// line the body.
func (a *attacker) request(row string) string {
	head, body, _ := strings.Cut(row, "\n\n")
	target, headers, more := strings.Cut(head, "\n")
	text := target + " HTTP/1.1\nHost: {host}\n" + headers + "\n\n" + body
	if !more {
		text = target + " HTTP/1.1\nHost: {host}\n\n" + body
	}
	return strings.NewReplacer("\n", "\r\n", "{host}", a.address, "{token}", a.tokens.Access, "{refresh}", a.tokens.Refresh,
		"{cookie}", a.cookie).Replace(text)
}

func (a *attacker) send(t *testing.T, row string) reply {
	t.Helper()
	c, err := net.Dial("tcp", a.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, a.request(row)); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(row, " ") // the answer to HEAD has no body
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.80q: %v", row, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%.80q: %v", row, err)
	}
	return reply{resp.StatusCode, resp.Header, body}
}

// outcome sends a row and says in a few words what came of it: the status and
// our error, or who the upstream believes it is.
func (a *attacker) outcome(t *testing.T, row string) (outcome, received string) {
	t.Helper()
	a.wire.take()
	r := a.send(t, row)
	got := a.wire.take()
	switch {
	case len(got) > 1:
		return fmt.Sprintf("%d requests reached the upstream", len(got)), strings.Join(got, "\n")
	case len(got) == 1:
		return fmt.Sprint(r.status, " ", a.believes(got[0])), got[0]
	}
	return strings.TrimSpace(fmt.Sprint(r.status, " ", r.header.Get("Sidegate-Error"))), ""
}

// believes is who the upstream takes the sender of a request for. Whatever a
// row wants the upstream to believe has "forged" in it.
func (a *attacker) believes(received string) string {
	for name, secret := range map[string]string{"access token": a.tokens.Access, "refresh token": a.tokens.Refresh, "cookie": a.cookie} {
		if strings.Contains(received, secret) {
			return "with our " + name
		}
	}
	if strings.Contains(received, "forged") {
		return "with what was forged"
	}
	lines := identityLines(received)
	for name, known := range a.whose {
		if slices.Equal(lines, known) {
			return name
		}
	}
	if len(lines) == 0 {
		return "anonymous"
	}
	return fmt.Sprintf("with %q", lines)
}

// identityLines are the headers and trailers that some upstream may read as an
// identity.
func identityLines(received string) (lines []string) {
	for line := range strings.SplitSeq(received, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		folded := strings.Map(func(c rune) rune {
			if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
				return c
			}
			return '-'
		}, strings.ToLower(name))
		if strings.HasPrefix(folded, "x-auth-") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// attack is one row: what is sent, what comes of it, and lines that reach the
// upstream, or with a '!' in front do not.
type attack struct {
	name, send, want string
	lines            []string
}

func (a *attacker) run(t *testing.T, rows []attack) {
	t.Helper()
	for _, row := range rows {
		got, received := a.outcome(t, row.send)
		if got != row.want {
			t.Errorf("%s: got %q, want %q; the upstream received %q", row.name, got, row.want, received)
		}
		for _, line := range row.lines {
			line, absent := strings.CutPrefix(line, "!")
			if strings.Contains("\r\n"+received, "\r\n"+line) == absent {
				t.Errorf("%s: line %q: absent should be %v; the upstream received %q", row.name, line, absent, received)
			}
		}
	}
}

func TestAttacks(t *testing.T) {
	a := newAttacker(t)
	for _, group := range []struct {
		name string
		run  func(*attacker, *testing.T)
	}{
		{"identity headers", attackHeaders}, {"separators", attackSeparators}, {"connection", attackConnection},
		{"trailers", attackTrailers}, {"HTTP/2", attackHTTP2}, {"methods and upgrades", attackTunnels},
		{"credentials", attackCredentials}, {"cross-site", attackCrossSite},
		{"paths", attackPaths}, {"own paths", attackOwnPaths}, {"login redirect", attackRedirect}, {"login form", attackLoginForm},
		{"tokens", attackTokens}, {"tickets", attackTickets},
	} {
		t.Run(group.name, func(t *testing.T) { group.run(a, t) })
	}
}

// A client names itself, in a spelling that somebody on the way reads as ours.
func attackHeaders(a *attacker, t *testing.T) {
	var rows []attack
	for _, forged := range []struct{ name, header string }{
		{"as we write it", "X-Auth-User-Id: forged"},
		{"small letters", "x-auth-user-id: forged"},
		{"capitals", "X-AUTH-USER-ID: forged"},
		{"underscores", "X_Auth_User_Id: forged"},
		{"dots", "X.Auth.User.Id: forged"},
		{"mixed separators and case", "x_aUTH.user~iD: forged"},
		{"twice", "X-Auth-User-Id: forged\nX-Auth-User-Id: forged"},
		{"twice, in two spellings", "X-Auth-User-Id: forged\nx_auth_user_id: forged"},
		{"empty value", "X-Auth-User-Id:"},
		{"empty value, underscores", "X_Auth_User_Roles:"},
		{"a header that we never set", "X-Auth-Admin: forged"},
		{"the bare prefix", "X-Auth-: forged"},
		{"several", "X-Auth-User-Roles: forged\nX-Auth-Session-Id: forged\nX-Auth-Device-Id: forged\nX-Auth-Time: forged"},
	} {
		rows = append(rows,
			attack{"public path, " + forged.name, "GET /public/x\n" + forged.header, "200 anonymous", nil},
			attack{"stranger, " + forged.name, "GET /app\n" + forged.header, "401 token_missing", nil},
			attack{"user, " + forged.name, "GET /app\nAuthorization: Bearer {token}\n" + forged.header, "200 bearer", nil},
			attack{"user on a public path, " + forged.name, "GET /public/x\nCookie: sidegate={cookie}\n" + forged.header, "200 cookie", nil})
	}
	rows = append(rows, attack{"a name that only begins alike", "GET /public/x\nX-Author: me\nX-Authority: me", "200 anonymous",
		[]string{"X-Author: me", "X-Authority: me"}})
	a.run(t, rows)
}

// Every byte that a header's name may have (RFC 9110 §5.6.2), as separator.
func attackSeparators(a *attacker, t *testing.T) {
	for _, sep := range "!#$%&'*+-.^_`|~" {
		name := strings.ReplaceAll("X?Auth?User?Id", "?", string(sep))
		a.run(t, []attack{
			{"public " + name, "GET /public/x\n" + name + ": forged", "200 anonymous", nil},
			{"user " + name, "GET /app\nAuthorization: Bearer {token}\n" + name + ": forged", "200 bearer", nil},
		})
	}
}

// The proxy deletes the headers that Connection names, after we have set ours:
// the user becomes nobody, or whoever the upstream takes nobody for.
func attackConnection(a *attacker, t *testing.T) {
	const user = "GET /app\nAuthorization: Bearer {token}\n"
	a.run(t, []attack{
		{"alone", user + "Connection: X-Auth-User-Id", "200 bearer", nil},
		{"small letters", user + "Connection: x-auth-user-id", "200 bearer", nil},
		{"behind close", user + "Connection: close, X-Auth-User-Id", "200 bearer", nil},
		{"behind a tab", user + "Connection: close,\tX-Auth-User-Roles\t", "200 bearer", nil},
		{"between empty tokens", user + "Connection: ,, X-Auth-User-Roles ,,", "200 bearer", nil},
		{"two lines", user + "Connection: keep-alive\nConnection: X-Auth-Session-Id, X-Auth-Time", "200 bearer", nil},
		{"a line for each", user + "Connection: X-Auth-Device-Id\nConnection: x-AUTH-user-TYPE\nconnection: X-Auth-User-Id", "200 bearer", nil},
		{"all at once on a public path", "GET /public/x\nCookie: sidegate={cookie}\nConnection: X-Auth-User-Id, X-Auth-User-Type, X-Auth-User-Roles, X-Auth-Session-Id, X-Auth-Device-Id, X-Auth-Time", "200 cookie", nil},
		{"another's header may go", user + "Connection: X-Hop\nX-Hop: 1", "200 bearer", []string{"!X-Hop"}},
	})
}

// Trailers come after the header has been checked.
func attackTrailers(a *attacker, t *testing.T) {
	const public, user, body = "POST /public/x\nTransfer-Encoding: chunked\n", "POST /app\nAuthorization: Bearer {token}\nTransfer-Encoding: chunked\n", "\n1\na\n0\n"
	a.run(t, []attack{
		{"declared", public + "Trailer: X-Auth-User-Id\n" + body + "X-Auth-User-Id: forged\n\n", "200 anonymous", []string{"!Trailer"}},
		{"undeclared", public + body + "X-Auth-User-Id: forged\n\n", "200 anonymous", nil},
		{"undeclared behind a harmless declared one", public + "Trailer: X-Sum\n" + body + "X-Sum: 1\nX-Auth-User-Id: forged\n\n", "200 anonymous", nil},
		{"declared with underscores", public + "Trailer: X_Auth_User_Id\n" + body + "X_Auth_User_Id: forged\n\n", "200 anonymous", nil},
		{"of a user, declared", user + "Trailer: x-auth-user-roles\n" + body + "x-auth-user-roles: forged\n\n", "200 bearer", nil},
		{"of a user, undeclared", user + "Trailer: X-Sum\n" + body + "X-Sum: 1\nX-Auth-User-Roles: forged\n\n", "200 bearer", nil},
		{"empty value", public + "Trailer: X-Auth-User-Id\n" + body + "X-Auth-User-Id:\n\n", "200 anonymous", nil},
	})
}

// The same over HTTP/2, whose names are small letters and whose trailers need
// no chunks.
func attackHTTP2(a *attacker, t *testing.T) {
	var h2 http.Protocols
	h2.SetUnencryptedHTTP2(true)
	for _, row := range []struct {
		name, path, authorization, want string
	}{
		{"public", "/public/x", "", "200 anonymous"},
		{"user", "/app", bearer(a.tokens), "200 bearer"},
		{"stranger", "/app", "", "401"},
		{"user, protected path in disguise", "/public/..;/admin", bearer(a.tokens), "403"},
	} {
		a.wire.take()
		client := &http.Client{Transport: &http.Transport{Protocols: &h2}, Timeout: 10 * time.Second}
		defer client.CloseIdleConnections()
		r, err := http.NewRequest("POST", a.url(row.path), io.MultiReader(strings.NewReader("body"))) // of unknown length
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"x-auth-user-id": {"forged", "forged"}, "x_auth_user_roles": {"forged"}, "x.auth.time": {""}, "Authorization": {row.authorization}}
		r.Trailer = http.Header{"X-Auth-User-Id": {"forged"}, "X-Sum": {"1"}}
		if row.authorization == "" {
			delete(r.Header, "Authorization")
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		got := fmt.Sprint(resp.StatusCode)
		for _, received := range a.wire.take() {
			got += " " + a.believes(received)
		}
		if got != row.want || resp.ProtoMajor != 2 {
			t.Errorf("%s: got %q over %s, want %q", row.name, got, resp.Proto, row.want)
		}
	}
}
