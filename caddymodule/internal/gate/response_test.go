package gate

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// answer sends one request with the cookie through a real server whose
// upstream is the given handler.
func answer(t *testing.T, f *fake, upstream http.HandlerFunc, lines ...string) (*http.Response, []http.Header) {
	t.Helper()
	g := newGate(t, f, nil)
	var early []http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(g, w, r, upstream) }))
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	lines = append([]string{"GET /x HTTP/1.1", "Host: app.example.com", "Cookie: __Host-sidegate=good"}, lines...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	read := bufio.NewReader(conn)
	for {
		a, err := http.ReadResponse(read, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a.StatusCode >= 200 || a.StatusCode == 101 {
			return a, early
		}
		early = append(early, a.Header)
	}
}

// forge is an upstream that says what only we may say.
func forge(h http.Header) {
	h.Set("X-Auth-User-Id", "1")
	h["x_auth_time"] = []string{"1"}
	h.Set("Sidegate-Error", "session_revoked")
	h["sidegate-error"] = []string{"session_revoked"}
	h["Set-Cookie"] = []string{
		"__Host-sidegate=theirs; Path=/", "other=1", "__host-SIDEGATE =x", " sidegate=; Max-Age=0", "=__Host-sidegate=x", "Sidegate",
	}
	h["set-cookie"] = []string{"__Host-sidegate=theirs"}
	h.Set("X-Author", "kept")
}

func checkForged(t *testing.T, way string, h http.Header, cookies ...string) {
	t.Helper()
	for name := range h {
		if hasFoldedPrefix(name, "x-auth-") || strings.EqualFold(name, "Sidegate-Error") {
			t.Errorf("%s: %s reached the client", way, name)
		}
	}
	if got := h["Set-Cookie"]; !equal(got, cookies) {
		t.Errorf("%s: cookies %q, want %q", way, got, cookies)
	}
	if h.Get("X-Author") != "kept" {
		t.Errorf("%s: another header is gone: %v", way, h)
	}
}

// A compromised or careless upstream sets our cookie (a session fixed by it),
// ends it, or makes clients believe that we have refused.
func TestUpstreamCannotSpeakInOurName(t *testing.T) {
	for way, write := range map[string]func(w http.ResponseWriter){
		"a status":        func(w http.ResponseWriter) { w.WriteHeader(401) },
		"a body":          func(w http.ResponseWriter) { _, _ = io.WriteString(w, "x") },
		"nothing":         func(http.ResponseWriter) {},
		"a flush":         func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
		"a controller":    func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
		"a copied file":   func(w http.ResponseWriter) { _, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("x")) },
		"two statuses":    func(w http.ResponseWriter) { w.WriteHeader(200); w.WriteHeader(500) },
		"a moved hint":    func(w http.ResponseWriter) { w.WriteHeader(102); forge(w.Header()); w.WriteHeader(200) },
		"a late addition": func(w http.ResponseWriter) { w.WriteHeader(200); forge(w.Header()) },
	} {
		a, early := answer(t, &fake{}, func(w http.ResponseWriter, _ *http.Request) {
			forge(w.Header())
			write(w)
		})
		checkForged(t, way, a.Header, "other=1")
		for _, h := range early {
			checkForged(t, way+", early", h, "other=1")
		}
	}
}

func TestTrailersOfTheUpstreamAreCleaned(t *testing.T) {
	a, _ := answer(t, &fake{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Auth-Time, X-Sum")
		_, _ = io.WriteString(w, "x")
		w.Header().Set("X-Auth-Time", "1")
		w.Header().Set("X-Sum", "2")
		w.Header().Set(http.TrailerPrefix+"X-Auth-User-Id", "1")
	})
	_, _ = io.Copy(io.Discard, a.Body)
	if a.Trailer.Get("X-Sum") != "2" || len(a.Trailer["X-Auth-Time"])+len(a.Trailer["X-Auth-User-Id"]) != 0 {
		t.Errorf("got %v", a.Trailer)
	}
}

func TestRotatedCookieIsSetOnce(t *testing.T) {
	const ours = "__Host-sidegate=next; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"
	for _, test := range []struct {
		name, cache, want string
	}{
		{"no word of caching", "", "private, no-cache"},
		{"a shared cache", "public, max-age=60", "private, no-cache"},
		{"private fields only", `private="x", max-age=60`, "private, no-cache"},
		{"private", "max-age=60, Private", "max-age=60, Private"},
		{"not stored", "no-store", "no-store"},
	} {
		a, early := answer(t, &fake{successor: "next"}, func(w http.ResponseWriter, _ *http.Request) {
			forge(w.Header())
			if test.cache != "" {
				w.Header().Set("Cache-Control", test.cache)
			}
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "x")
		})
		checkForged(t, test.name, a.Header, "other=1", ours)
		for _, h := range early {
			checkForged(t, test.name+", early", h, "other=1")
		}
		if got := a.Header.Get("Cache-Control"); got != test.want || len(early) != 1 {
			t.Errorf("%s: got %q, %d early", test.name, got, len(early))
		}
	}
	// Attack: an app that lets its CDN cache a page would have the session of
	// the one who was first cached with it.
	a, _ := answer(t, &fake{successor: "next"}, func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"CDN-Cache-Control", "Acme-CDN-Cache-Control", "Surrogate-Control", "X-Accel-Expires"} {
			w.Header().Set(name, "max-age=60")
		}
		w.Header().Set("Cache-Control", "no-store")
	})
	for name := range a.Header {
		if strings.Contains(a.Header.Get(name), "60") && name != "Set-Cookie" {
			t.Errorf("a cache may keep the cookie by %s", name)
		}
	}
	if got := setCookie(plainCookie, "v", 0); strings.Contains(got, "Secure") || !strings.Contains(got, "Max-Age=1;") {
		t.Errorf("loopback, at the session's end: got %q", got)
	}
}

func TestHijackedAnswers(t *testing.T) {
	f := &fake{successor: "next"}
	a, _ := answer(t, f, func(w http.ResponseWriter, _ *http.Request) {
		forge(w.Header())
		w.WriteHeader(101)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}, "Connection: Upgrade", "Upgrade: websocket")
	checkForged(t, "a websocket", a.Header, "other=1")
	if f.rotate {
		t.Error("a handshake rotates the cookie")
	}
	var header http.Header
	a, _ = answer(t, f, func(w http.ResponseWriter, _ *http.Request) {
		forge(w.Header())
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		header = w.Header().Clone()
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		conn.Close()
	})
	checkForged(t, "a raw answer", header, "other=1")
	if a.StatusCode != 204 {
		t.Errorf("got %d", a.StatusCode)
	}
}

func TestResponseUnwraps(t *testing.T) {
	w := httptest.NewRecorder()
	p := &Passage{gate: newGate(t, &fake{}, nil)}
	p.Done() // before there is an answer
	if got := p.Depart(w, request(t, "GET", "/")).Unwrap(); got != w {
		t.Errorf("got %v", got)
	}
}
