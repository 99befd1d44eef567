package gate

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
)

func TestCredential(t *testing.T) {
	for _, test := range []struct {
		name   string
		lines  []string
		public int // status at a public path
		closed int // and at any other
		auth   []string
		cookie []string
	}{
		{"nothing", nil, 200, 401, nil, nil},
		{"a token of ours is removed", []string{"Authorization: Bearer ours-good"}, 200, 200, nil, nil},
		{"more spaces, and a tab", []string{"Authorization: Bearer \t ours-good"}, 200, 200, nil, nil},
		{"the scheme in another case", []string{"Authorization: bEARER  ours-good"}, 200, 200, nil, nil},
		{"a dead token is removed on public paths", []string{"Authorization: Bearer ours-expired"}, 200, 401, nil, nil},
		{"a revoked session", []string{"Authorization: Bearer ours-revoked"}, 200, 401, nil, nil},
		{"a store that cannot answer", []string{"Authorization: Bearer ours-fault"}, 503, 503, nil, nil},
		{"a foreign token passes public paths", []string{"Authorization: Bearer theirs"}, 200, 401, []string{"Bearer theirs"}, nil},
		{"a foreign scheme passes", []string{"Authorization: Basic eA=="}, 200, 401, []string{"Basic eA=="}, nil},
		{"two lines", []string{"Authorization: Bearer ours-good", "Authorization: Basic eA=="}, 400, 400, nil, nil},
		{"the same line twice", []string{"Authorization: Bearer ours-good", "Authorization: Bearer ours-good"}, 400, 400, nil, nil},
		{"two tokens in a line", []string{"Authorization: Bearer ours-good, Bearer theirs"}, 400, 400, nil, nil},
		{"a comma", []string{"Authorization: Bearer ours-good,"}, 400, 400, nil, nil},
		{"a tab inside", []string{"Authorization: Bearer ours-good\tx"}, 400, 400, nil, nil},
		{"a token of ours under another scheme is removed", []string{`Authorization: Token token="ours-good"`}, 200, 401, nil, nil},
		{"a token of ours before another field is removed", []string{`Authorization: Token token="ours-good", nonce="x"`}, 200, 401, nil, nil},
		{"a token of ours without a scheme is removed", []string{"Authorization: ours-good"}, 200, 401, nil, nil},
		{"a token behind Bearer= is removed", []string{"Authorization: Bearer=ours-good"}, 200, 401, nil, nil},
		{"Bearer alone", []string{"Authorization: Bearer"}, 200, 401, []string{"Bearer"}, nil},
		{"the cookie is removed", []string{"Cookie: __Host-sidegate=good"}, 200, 200, nil, nil},
		{"a dead cookie", []string{"Cookie: a=b; __Host-sidegate=bad"}, 200, 401, nil, []string{"a=b"}},
		{"a reused cookie", []string{"Cookie: __Host-sidegate=reused"}, 200, 401, nil, nil},
		{"a cookie while the store is down", []string{"Cookie: __Host-sidegate=fault"}, 503, 503, nil, nil},
		{"the cookie twice", []string{"Cookie: __Host-sidegate=good; __Host-sidegate=good"}, 400, 400, nil, nil},
		{"the cookie in two lines", []string{"Cookie: __Host-sidegate=good", "Cookie: __Host-sidegate=bad"}, 400, 400, nil, nil},
		{"the cookie twice, once in quotes", []string{`Cookie: __Host-sidegate=good; "__Host-sidegate"=bad`}, 400, 400, nil, nil},
		{"cookie and token of ours", []string{"Cookie: __Host-sidegate=good", "Authorization: Bearer ours-good"}, 400, 400, nil, nil},
		{"cookie and foreign token", []string{"Cookie: __Host-sidegate=good", "Authorization: Bearer theirs"}, 200, 200, []string{"Bearer theirs"}, nil},
		{"cookie and foreign scheme", []string{"Cookie: __Host-sidegate=good", "Authorization: Basic eA=="}, 200, 200, []string{"Basic eA=="}, nil},
		{"the cookie of the loopback is nobody's here", []string{"Cookie: sidegate=good"}, 200, 401, nil, nil},
		{"another case of the name", []string{"Cookie: __HOST-sidegate=good; x=y"}, 200, 401, nil, []string{"x=y"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for target, status := range map[string]int{"/public/x": test.public, "/x": test.closed} {
				answer, seen := ask(newGate(t, &fake{}, nil), request(t, "GET", target, test.lines...))
				if answer.StatusCode != status || (seen != nil) != (status == 200) {
					t.Fatalf("%s: got %d, reached %v, want %d", target, answer.StatusCode, seen != nil, status)
				}
				if seen == nil {
					continue
				}
				if got := seen.Header["Authorization"]; !equal(got, test.auth) {
					t.Errorf("%s: authorization %q, want %q", target, got, test.auth)
				}
				if got := seen.Header["Cookie"]; !equal(got, test.cookie) {
					t.Errorf("%s: cookie %q, want %q", target, got, test.cookie)
				}
			}
		})
	}
}

// A token in the address is logged, cached and sent on as a referrer
// (RFC 6750 §5.3): it is no credential.
func TestNoTokenInTheQuery(t *testing.T) {
	answer, seen := ask(newGate(t, &fake{}, nil), request(t, "GET", "/x?access_token=ours-good&token=ours-good"))
	if answer.StatusCode != 401 || seen != nil {
		t.Errorf("got %d", answer.StatusCode)
	}
}

func TestOtherCookiesStayByteForByte(t *testing.T) {
	for _, test := range []struct {
		name, line, want string
		value            string
		found, repeated  bool
	}{
		{"first", "__Host-sidegate=v; a=1;  b=2", "a=1;  b=2", "v", true, false},
		{"between", "a=1;__Host-sidegate=v;b=\"2\"", "a=1;b=\"2\"", "v", true, false},
		{"last", "a=1; b=2; __Host-sidegate=v", "a=1; b=2", "v", true, false},
		{"a semicolon at the end", "a=1; __Host-sidegate=v;", "a=1;", "v", true, false},
		{"alone", "__Host-sidegate=v", "", "v", true, false},
		{"alone with a semicolon", "__Host-sidegate=v; ", "", "v", true, false},
		{"an equals sign in the value", "__Host-sidegate=v=w==", "", "v=w==", true, false},
		{"an empty value", "__Host-sidegate=", "", "", true, false},
		{"without a value", "a=1; __Host-sidegate", "a=1", "", false, false},
		{"a space before the equals sign", "a=1; __Host-sidegate =v", "a=1", "", false, false},
		{"quotes around the name", "a=1; \"__Host-sidegate\"=v", "a=1", "", false, false},
		{"quotes around the pair", "a=1; \"__Host-sidegate=v\"", "a=1", "", false, false},
		{"a vertical tab before the name", "a=1; \v__Host-sidegate=v", "a=1", "", false, false},
		{"nameless", "a=1; =__Host-sidegate=v", "a=1", "", false, false},
		{"the other name", "a=1; Sidegate=v;c", "a=1;c", "", false, false},
		{"a known browser's", "a=1; __Host-sidegate-device=p; __Host-sidegate=v; sidegate-DEVICE=q", "a=1", "v", true, false},
		{"twice", "__Host-sidegate=v; a=1; __Host-sidegate=w", "a=1", "w", true, true},
		{"twice, once without a value", "__Host-sidegate=v; __Host-sidegate", "", "v", true, true},
		{"names that only end so", "device=1; x-device=2; -device=3", "device=1; x-device=2; -device=3", "", false, false},
		{"names that only begin so", "sidegates=1; x__Host-sidegate=2; __Host-sidegate2=3", "sidegates=1; x__Host-sidegate=2; __Host-sidegate2=3", "", false, false},
		{"nothing of ours, oddly written", " ;; a = \"b;c\" ;", " ;; a = \"b;c\" ;", "", false, false},
	} {
		h := http.Header{"Cookie": {test.line}}
		value, found, repeated := takeCookie(h, hostCookie)
		if value != test.value || found != test.found || repeated != test.repeated {
			t.Errorf("%s: got %q %v %v", test.name, value, found, repeated)
		}
		if got := h.Get("Cookie"); got != test.want {
			t.Errorf("%s: rest %q, want %q", test.name, got, test.want)
		}
	}
	h := http.Header{"Cookie": {"a=1", "__Host-sidegate=v", "b=2"}}
	takeCookie(h, hostCookie)
	if !equal(h["Cookie"], []string{"a=1", "b=2"}) {
		t.Errorf("lines: got %q", h["Cookie"])
	}
}

func FuzzCookie(f *testing.F) {
	for _, line := range []string{"a=1; __Host-sidegate=v", "sidegate=v;;", " __host-sidegate =\"v\"; =sidegate", "__Host-sidegate"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		h := http.Header{"Cookie": {line}}
		_, found, _ := takeCookie(h, hostCookie)
		rest := h.Get("Cookie")
		ours := false
		var others []string
		for pair := range strings.SplitSeq(line, ";") {
			if looksOurs(pair) {
				ours = true
				continue
			}
			others = append(others, pair)
		}
		for pair := range strings.SplitSeq(rest, ";") {
			if looksOurs(pair) {
				t.Fatalf("%q leaves %q", line, rest)
			}
		}
		if found && !ours {
			t.Fatalf("%q: found in none of ours", line)
		}
		want := strings.Join(others, ";")
		if !ours {
			want = line
		}
		if strings.TrimLeft(rest, " \t") != strings.TrimLeft(want, " \t") {
			t.Fatalf("%q: got %q, want %q", line, rest, want)
		}
	})
}

func TestCookieName(t *testing.T) {
	for host, want := range map[string]string{
		"localhost": plainCookie, "LOCALHOST:8080": plainCookie, "127.0.0.1:80": plainCookie, "127.8.9.1": plainCookie, "[::1]:8080": plainCookie,
		"[::1]": plainCookie, "app.localhost": plainCookie, "": hostCookie, "app.example.com": hostCookie, "localhost.example.com": hostCookie,
		"10.0.0.1": hostCookie, "127.0.0.1.example.com": hostCookie, "notlocalhost": hostCookie, "[2001:db8::a]:1": hostCookie,
	} {
		r := &http.Request{Host: host}
		if got := CookieName(r); got != want {
			t.Errorf("%q: got %s", host, got)
		}
		r.TLS = &tls.ConnectionState{HandshakeComplete: true}
		if got := CookieName(r); got != hostCookie {
			t.Errorf("%q with TLS: got %s", host, got)
		}
	}
	// Behind a proxy that ends TLS and sends Host: localhost, the plain cookie
	// would go over the open network when somebody types http://.
	for proto, want := range map[string]string{"https": hostCookie, "HTTPS, http": hostCookie, "http": plainCookie, "": plainCookie} {
		r := &http.Request{Host: "localhost:8080", Header: http.Header{"X-Forwarded-Proto": {proto}}}
		if got := CookieName(r); got != want {
			t.Errorf("X-Forwarded-Proto %q: got %s", proto, got)
		}
	}
}

// A page of another site makes the browser send the cookie along.
func TestCrossOrigin(t *testing.T) {
	const own = "https://login.example.com"
	for _, test := range []struct {
		name    string
		method  string
		lines   []string
		tls     bool
		refused bool
	}{
		{"a safe method from anywhere", "GET", []string{"Sec-Fetch-Site: cross-site"}, false, false},
		{"HEAD from anywhere", "HEAD", []string{"Origin: https://evil.example"}, false, false},
		{"same origin", "POST", []string{"Sec-Fetch-Site: same-origin", "Origin: https://evil.example"}, false, false},
		{"typed by the user", "POST", []string{"Sec-Fetch-Site: none"}, false, false},
		{"a sister site", "POST", []string{"Sec-Fetch-Site: same-site"}, false, true},
		{"another site", "DELETE", []string{"Sec-Fetch-Site: cross-site"}, false, true},
		{"an unknown word", "POST", []string{"Sec-Fetch-Site: Same-Origin"}, false, true},
		{"an empty word", "POST", []string{"Sec-Fetch-Site: "}, false, true},
		{"two words", "POST", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: same-origin"}, false, true},
		{"no browser", "POST", nil, false, false},
		{"an unknown method", "FROB", []string{"Sec-Fetch-Site: cross-site"}, false, true},
		{"the host as origin", "POST", []string{"Origin: https://APP.example.com"}, true, false},
		{"the host with its port as origin", "POST", []string{"Origin: https://app.example.com:443"}, true, false},
		{"the host without TLS as origin of one with", "POST", []string{"Origin: http://app.example.com"}, true, true},
		{"the host without TLS", "POST", []string{"Origin: http://app.example.com"}, false, false},
		{"another port", "POST", []string{"Origin: https://app.example.com:8443"}, true, true},
		{"the configured origin", "POST", []string{"Origin: https://login.example.com"}, false, false},
		{"another origin", "POST", []string{"Origin: https://evil.example"}, false, true},
		{"a host in the user part", "POST", []string{"Origin: https://evil@app.example.com"}, false, true},
		{"a sandboxed page", "POST", []string{"Origin: null"}, false, true},
		{"a broken origin", "POST", []string{"Origin: ://"}, false, true},
		{"two origins", "POST", []string{"Origin: https://app.example.com", "Origin: https://app.example.com"}, false, true},
		{"a websocket from another origin", "GET", []string{"Upgrade: websocket", "Origin: https://evil.example"}, false, true},
		{"a websocket from another site", "GET", []string{"Upgrade: websocket", "Sec-Fetch-Site: cross-site"}, false, true},
		{"a websocket of a proxy that keeps Upgrade", "GET", []string{"Sec-Websocket-Key: x", "Origin: https://evil.example"}, false, true},
		{"a websocket from here", "GET", []string{"Upgrade: websocket", "Origin: https://app.example.com"}, false, false},
	} {
		r := request(t, "GET", "/x", append(test.lines, "Cookie: __Host-sidegate=good")...)
		r.Method = test.method
		if test.tls {
			r.TLS = &tls.ConnectionState{HandshakeComplete: true}
		}
		f := &fake{}
		answer, seen := ask(newGate(t, f, func(c *Config) { c.Origin = own }), r)
		want := 200
		if test.refused {
			want = 403
		}
		if answer.StatusCode != want || (seen == nil) != test.refused || (f.asked == 0) != test.refused {
			t.Errorf("%s: got %d, sessions asked %d times", test.name, answer.StatusCode, f.asked)
		}
	}
	r := request(t, "POST", "/x", "Sec-Fetch-Site: cross-site", "Authorization: Bearer ours-good")
	if answer, _ := ask(newGate(t, &fake{}, nil), r); answer.StatusCode != 200 {
		t.Errorf("a token that no browser attaches: got %d", answer.StatusCode)
	}
}
