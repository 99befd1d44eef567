package gate

import (
	"crypto/tls"
	"net/http"
	"testing"
)

// A client writes the headers by which the upstream knows people, in a spelling
// that one of the servers between reads as ours.
func TestFirewallDeletesEverySpellingOfOurHeaders(t *testing.T) {
	g := newGate(t, &fake{}, nil)
	for _, name := range []string{
		"X-Auth-User-Id", "x-auth-user-id", "X-AUTH-USER-ID", "X_Auth_User_Id", "X.Auth.User.Id", "x_auth-user_id",
		"X-Auth-", "X-Auth-Anything", "X~Auth~Time", "X!Auth!Time", "X*Auth+Time", "X|Auth`User", "X'Auth^User#Id",
		"X Auth User Id", "X\x00Auth\x00User", "X\xe2Auth\xe2User", "X$Auth%User&Id", "X:Auth:User",
	} {
		r := request(t, "GET", "/public/x", name+": 1", "X-Author: me", "X-Authority: me", "Accept: */*")
		_, seen := ask(g, r)
		if _, there := seen.Header[name]; there || len(seen.Header) != 3 {
			t.Errorf("%q: the upstream got %v", name, seen.Header)
		}
	}
}

// Attack: a recorded first flight of HTTP/3 (0-RTT), sent again.
func TestFirewallWantsTheHandshakeForUnsafeMethods(t *testing.T) {
	g := newGate(t, &fake{}, nil)
	for method, early := range map[string]bool{"GET": false, "HEAD": false, "OPTIONS": false, "POST": true, "PUT": true, "DELETE": true, "PATCH": true, "X": true} {
		for _, target := range []string{"/api/v1/auth/logout", "/auth/login", "/x", "/public/x"} {
			for _, complete := range []bool{false, true} {
				r := request(t, method, target)
				r.TLS = &tls.ConnectionState{HandshakeComplete: complete}
				refusal := g.Firewall(r)
				if refused := refusal != nil; refused != (early && !complete) || refused && refusal.Code != codeTooEarly {
					t.Errorf("%s %s, handshake complete=%v: got %v", method, target, complete, refusal)
				}
			}
		}
	}
}

// The proxy deletes what Connection names after we have set it: a client that
// names our headers becomes nobody, or somebody by a default of the upstream.
func TestFirewallScrubsConnection(t *testing.T) {
	g := newGate(t, &fake{}, nil)
	for _, test := range []struct {
		name string
		in   []string
		want []string
	}{
		{"one of ours between others", []string{"close, X-Auth-User-Id, keep-alive"}, []string{"close, keep-alive"}},
		{"ours alone", []string{"x_auth_user_id"}, nil},
		{"ours in a second line", []string{"close", "te,X.AUTH.time"}, []string{"close", "te"}},
		{"white space around", []string{"close,\t X-Auth-Time \t"}, []string{"close"}},
		{"nothing of ours stays byte for byte", []string{"close ,  te"}, []string{"close ,  te"}},
		{"upgrade without a websocket", []string{"Upgrade, close"}, []string{"close"}},
	} {
		r := request(t, "GET", "/public/x")
		r.Header["Connection"] = test.in
		_, seen := ask(g, r)
		if got := seen.Header["Connection"]; !equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestFirewallDropsTrailers(t *testing.T) {
	g := newGate(t, &fake{}, nil)
	r := request(t, "POST", "/public/x", "Trailer: X-Checksum", "trailer: X-Auth-User-Id")
	r.Trailer = http.Header{"X-Checksum": nil, "X-Auth-User-Id": {"1"}}
	_, seen := ask(g, r)
	if seen.Trailer != nil || len(seen.Header) != 0 {
		t.Errorf("got trailer %v, header %v", seen.Trailer, seen.Header)
	}
}

func TestFirewallRefusesMethodsThatNobodyNeeds(t *testing.T) {
	g := newGate(t, &fake{}, nil)
	for _, method := range []string{"TRACE", "trace", "TRACK", "Track", "CONNECT", "connect"} {
		r := request(t, "GET", "/public/x")
		r.Method = method
		answer, seen := ask(g, r)
		if answer.StatusCode != 405 || seen != nil || answer.Header.Get("Allow") == "" || answer.Header.Get("Sidegate-Error") != "method_not_allowed" {
			t.Errorf("%s: got %d %v", method, answer.StatusCode, answer.Header)
		}
	}
}

// Upgrade to anything that the upstream accepts opens a tunnel whose requests
// nobody checks.
func TestFirewallLetsOnlyOneWebSocketUpgrade(t *testing.T) {
	g := newGate(t, &fake{}, nil)
	for _, test := range []struct {
		name     string
		upgrades []string
		stays    bool
	}{
		{"a websocket", []string{"websocket"}, true},
		{"a websocket in capitals", []string{"WebSocket"}, true},
		{"h2c", []string{"h2c"}, false},
		{"two protocols in one line", []string{"websocket, h2c"}, false},
		{"two lines", []string{"websocket", "h2c"}, false},
		{"the same twice", []string{"websocket", "websocket"}, false},
		{"a version", []string{"websocket/13"}, false},
		{"an empty line", []string{""}, false},
	} {
		r := request(t, "GET", "/public/x", "Connection: keep-alive, Upgrade")
		r.Header["Upgrade"] = test.upgrades
		_, seen := ask(g, r)
		_, there := seen.Header["Upgrade"]
		want := []string{"keep-alive, Upgrade"}
		if !test.stays {
			want = []string{"keep-alive"}
		}
		if there != test.stays || !equal(seen.Header["Connection"], want) {
			t.Errorf("%s: got %v", test.name, seen.Header)
		}
	}
	r := request(t, "GET", "/public/x", "UPGRADE: h2c", "CONNECTION: X-Auth-Time", "COOKIE: __Host-sidegate=x", "AUTHORIZATION: Bearer ours-good")
	if _, seen := ask(g, r); len(seen.Header) != 0 {
		t.Errorf("names in capitals: got %v", seen.Header)
	}
}

func TestFirewallAllocatesNothing(t *testing.T) {
	g := newGate(t, &fake{}, nil)
	r := request(t, "GET", "/x", "Connection: keep-alive", "Accept: */*", "Cookie: a=b", "User-Agent: x", "Authorization: Bearer x")
	if n := testing.AllocsPerRun(100, func() { g.Firewall(r) }); n != 0 {
		t.Errorf("got %v allocations", n)
	}
}
