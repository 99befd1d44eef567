package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// noLimits lets one client ask as often as a table has rows.
const noLimits = `limits {
	phone_sends off
	phone_failures off
	ip_sends off
	ip_failures off
	prefix_sends off
	global_sends off
}
otp {
	test_number +15555550100 424242 until 2099-01-01
	test_number +15555550101 424242 until 2099-01-01
}`

const testA, testB = "+15555550100", "+15555550101"

// asked is one request, header lines as they are: none is added.
type asked struct {
	method, path, body string
	header             http.Header
}

// lines makes a header of pairs; a name may come twice.
func lines(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// send makes the request. Below the API every answer, good or bad, has the
// headers of the contract.
func (s *site) send(a asked) reply {
	s.t.Helper()
	req, err := http.NewRequest(a.method, s.url(apiPath+a.path), strings.NewReader(a.body))
	if err != nil {
		s.t.Fatalf("%s %s: %v", a.method, a.path, err)
	}
	if a.body == "" {
		req.Body = nil
	}
	req.Header = a.header.Clone()
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", a.method, a.path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", a.method, a.path, err)
	}
	return reply{resp.StatusCode, resp.Header, text}
}

// refused fails unless the answer is this refusal, whole: status, code, headers
// and the problem's members.
func refused(t testing.TB, what string, r reply, status int, code string) {
	t.Helper()
	wants(t, what, r, status, code)
	hardened(t, what, r)
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s: Content-Type %q", what, got)
	}
	var p struct {
		Type, Title, Detail, Error string
		Status                     int
		RetryAfter                 int `json:"retry_after"`
	}
	if err := json.Unmarshal(r.body, &p); err != nil || p.Type == "" || p.Title == "" || p.Detail == "" || p.Status != status {
		t.Errorf("%s: problem %s (%v)", what, r.body, err)
	}
	if challenge := r.header.Get("WWW-Authenticate"); status == 401 && !strings.HasPrefix(challenge, "Bearer") {
		t.Errorf("%s: WWW-Authenticate %q", what, challenge)
	}
	if strings.HasPrefix(code, "refresh_token_") && p.Error != "invalid_grant" {
		t.Errorf("%s: error %q, want invalid_grant", what, p.Error)
	}
	if status == 405 && r.header.Get("Allow") == "" {
		t.Errorf("%s: no Allow", what)
	}
	if wait := r.header.Get("Retry-After"); (status == 503 || status == 429) && (wait == "" || wait != strconv.Itoa(p.RetryAfter)) {
		t.Errorf("%s: Retry-After %q, retry_after %d", what, wait, p.RetryAfter)
	}
}

func hardened(t testing.TB, what string, r reply) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if got := r.header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %s is %q, want %q", what, name, got, want)
		}
	}
}

// route is one of the contract, with a request that it would answer well.
type route struct {
	method, path string
	body         string // of a good request; empty: the route reads none
	optional     bool   // a good request may also come without a body
	fields       []string
	needs        bool // an access token or cookie
}

func routesFor(own tokens) []route {
	device := []string{"device_id", "device_type", "device_name", "platform", "platform_version", "app_version", "fcm_token"}
	return []route{
		{method: "POST", path: "/otp", body: `{"phone":"+15555550100"}`, fields: []string{"phone", "channel", "challenge_id", "transport"}},
		{method: "POST", path: "/otp/verify", body: `{"challenge_id":"AAAAAAAAAAAAAAAAAAAAAA","code":"424242"}`, fields: []string{"challenge_id", "code", "transport"}},
		{method: "POST", path: "/refresh", body: `{"refresh_token":"x"}`, fields: []string{"refresh_token"}},
		{method: "POST", path: "/logout", body: `{"scope":"session"}`, optional: true, fields: []string{"refresh_token", "scope"}},
		{method: "POST", path: "/session/" + own.SessionID + "/activity", body: `{}`, optional: true, fields: []string{"last_activity_at"}, needs: true},
		{method: "PUT", path: "/device", body: `{}`, fields: device, needs: true},
		{method: "GET", path: "/session", needs: true},
		{method: "GET", path: "/session/" + own.SessionID, needs: true},
		{method: "GET", path: "/sessions", needs: true},
		{method: "DELETE", path: "/sessions/" + own.SessionID, needs: true},
		{method: "DELETE", path: "/sessions", needs: true},
		{method: "GET", path: "/user", needs: true},
		{method: "POST", path: "/user/phone", body: `{"phone":"+46701740605"}`, fields: []string{"phone", "channel", "challenge_id", "locale", "proof"}, needs: true},
		{method: "POST", path: "/user/phone/verify", body: `{"challenge_id":"AAAAAAAAAAAAAAAAAAAAAA","code":"424242"}`, fields: []string{"challenge_id", "code", "locale"}, needs: true},
		{method: "GET", path: "/verify", needs: true},
		{method: "GET", path: "/events", needs: true},
		{method: "GET", path: "/jwks.json"},
		{method: "GET", path: "/health"},
		{method: "GET", path: "/otp/AAAAAAAAAAAAAAAAAAAAAA"},
	}
}

// badInput runs rows against a running gate with two signed-in users. None of
// it may reach the app, and afterwards both are still signed in.
func badInput(t *testing.T, rows func(s *site, own, other tokens)) {
	t.Helper()
	s := startSite(t, noLimits, "public /open")
	own, other := s.signInWith(testA, nil), s.signInWith(testB, nil)
	rows(s, own, other)
	for _, r := range s.upstream.take() {
		t.Errorf("%s %s reached the app", r.Method, r.URL)
	}
	for name, who := range map[string]tokens{"own": own, "other": other} {
		wants(t, name+" session afterwards", s.do("GET", "/app", nil, "Authorization", bearer(who)), 200, "")
		s.tokens(s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": who.Refresh}))
	}
}

// signInWith signs in with a test number, whose code nobody has to wait for.
func (s *site) signInWith(phone string, device map[string]any, extra ...any) tokens {
	s.t.Helper()
	body := map[string]any{"challenge_id": s.start(phone), "code": "424242", "device": device}
	for i := 0; i+1 < len(extra); i += 2 {
		body[extra[i].(string)] = extra[i+1]
	}
	return s.tokens(s.do("POST", apiPath+"/otp/verify", body))
}

func TestBadBodies(t *testing.T) {
	badInput(t, func(s *site, own, _ tokens) {
		for _, route := range routesFor(own) {
			if route.body == "" {
				continue
			}
			for name, row := range badBodies(route) {
				if row.header.Get("Authorization") == "" {
					row.header.Set("Authorization", bearer(own))
				}
				if route.path == "/refresh" || route.path == "/otp" || route.path == "/otp/verify" {
					row.header.Del("Authorization")
				}
				what := route.method + " " + route.path + ", " + name
				refused(t, what, s.send(row.asked), row.status, row.code)
			}
		}
	})
}

// bad is a request and the refusal that it must get.
type bad struct {
	asked
	status int
	code   string
}

// badBodies are the bodies that no route takes, whatever its fields.
func badBodies(r route) map[string]bad {
	field := r.fields[0]
	rows := map[string]bad{}
	add := func(name, body, contentType string, status int, code string) {
		rows[name] = bad{asked{r.method, r.path, body, lines("Content-Type", contentType)}, status, code}
	}
	for name, body := range map[string]string{
		"half an object": `{`, "no JSON": `phone=1`, "array": `[]`, "array of the object": `[` + r.body + `]`, "null": `null`, "text": `"x"`,
		"number": `1`, "true": `true`, "two objects": r.body + r.body, "garbage behind": r.body + `x`, "a NUL behind": r.body + "\x00",
		"comment": `/**/` + r.body, "single quotes": `{'` + field + `':'x'}`, "no quotes": `{` + field + `:"x"}`, "comma at the end": `{"` + field + `":"x",}`,
		"member twice": `{"` + field + `":"x","` + field + `":"x"}`, "unknown member twice": `{"u":1,"u":1,` + strings.TrimPrefix(r.body, "{"),
		"member twice, one escaped": `{"` + field + `":"x","\u00` + fmt.Sprintf("%02x", field[0]) + field[1:] + `":"x"}`,
		"invalid UTF-8":             `{"` + field + "\":\"\xff\"}", "byte order mark": "\ufeff" + r.body, "UTF-16": "\x00{\x00}",
		"endless nesting":   strings.Repeat(`{"a":`, 3000),
		"endless arrays":    `{"` + field + `":` + strings.Repeat(`[`, 16000),
		"deeply nested":     `{"` + field + `":` + strings.Repeat(`[`, 7000) + strings.Repeat(`]`, 7000) + `}`,
		"a number too many": `{"` + field + `":1e999}`,
	} {
		add(name, body, "application/json", 400, "invalid_request")
	}
	delete(rows, "unknown member twice")
	if r.body != "{}" {
		add("unknown member twice", `{"u":1,"u":1,`+r.body[1:], "application/json", 400, "invalid_request")
	}
	for _, field := range r.fields {
		for _, value := range []string{`1`, `0`, `true`, `false`, `[]`, `["x"]`, `{}`, `{"x":"y"}`, `1.5`} {
			add(field+" is "+value, `{"`+field+`":`+value+`}`, "application/json", 400, "invalid_request")
		}
	}
	large := `{"` + field + `":"` + strings.Repeat("x", 16<<10) + `"}`
	add("too large", large, "application/json", 413, "body_too_large")
	add("too large, all white space", strings.Repeat(" ", 16<<10)+r.body, "application/json", 413, "body_too_large")
	for _, contentType := range []string{
		"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "text/json", "application/json-seq",
		"application/json, text/plain", "application/json; charset=iso-8859-1", "application/json; charset=utf-16", ";", "json", "*/*",
	} {
		add("Content-Type "+contentType, r.body, contentType, 415, "unsupported_media_type")
	}
	for name, header := range map[string]http.Header{
		"no Content-Type":  lines(),
		"two of them":      lines("Content-Type", "application/json", "Content-Type", "application/json"),
		"compressed":       lines("Content-Type", "application/json", "Content-Encoding", "gzip"),
		"twice compressed": lines("Content-Type", "application/json", "Content-Encoding", "identity", "Content-Encoding", "gzip"),
	} {
		rows[name] = bad{asked{r.method, r.path, r.body, header}, 415, "unsupported_media_type"}
	}
	if !r.optional {
		add("no body", "", "application/json", 400, "invalid_request")
		rows["nothing at all"] = bad{asked{r.method, r.path, "", lines()}, 415, "unsupported_media_type"}
	}
	return rows
}

// A body that breaks off, and one whose length is not told.
func TestBrokenBodies(t *testing.T) {
	badInput(t, func(s *site, _, _ tokens) {
		head := "POST " + apiPath + "/refresh HTTP/1.1\r\nHost: " + s.address + "\r\nContent-Type: application/json\r\nConnection: close\r\n"
		for name, row := range map[string]struct {
			rest   string
			status string
		}{
			"shorter than announced":        {"Content-Length: 400\r\n\r\n{\"refresh_token\":", "400"},
			"chunks that are none":          {"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", "400"},
			"chunks that break off":         {"Transfer-Encoding: chunked\r\n\r\n20\r\n{\"refresh", "400"},
			"endless chunks":                {"Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1000\r\n"+strings.Repeat(" ", 4096)+"\r\n", 5) + "0\r\n\r\n", "413"},
			"announced larger than allowed": {"Content-Length: 99999999\r\n\r\n{}", "413"},
		} {
			conn, err := net.Dial("tcp", s.address)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(conn, head+row.rest)
			_ = conn.(*net.TCPConn).CloseWrite()
			answer, _ := io.ReadAll(conn)
			conn.Close()
			if !bytes.HasPrefix(answer, []byte("HTTP/1.1 "+row.status+" ")) || !bytes.Contains(answer, []byte("Sidegate-Error: ")) {
				t.Errorf("%s: got %q, want %s", name, answer, row.status)
			}
		}
	})
}

// Every method that a route does not know, and every spelling of a route that
// is none.
func TestWrongMethodsAndRoutes(t *testing.T) {
	badInput(t, func(s *site, own, _ tokens) {
		known := map[string][]string{}
		for _, r := range routesFor(own) {
			known[r.path] = append(known[r.path], r.method)
			if r.method == "GET" {
				known[r.path] = append(known[r.path], "HEAD")
			}
		}
		for path, methods := range known {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "BREW", "get"} {
				if slices.Contains(methods, method) {
					continue
				}
				r := s.send(asked{method, path, "", lines("Authorization", bearer(own))})
				what := method + " " + path
				if method == "HEAD" {
					r.body = s.send(asked{"PATCH", path, "", lines()}).body // HEAD has none
				}
				refused(t, what, r, 405, "method_not_allowed")
				allow := strings.Split(r.header.Get("Allow"), ", ")
				slices.Sort(allow)
				if want := slices.Sorted(slices.Values(methods)); !slices.Equal(allow, want) {
					t.Errorf("%s: Allow %q, want %q", what, allow, want)
				}
			}
		}
		for _, method := range []string{"TRACE", "TRACK"} {
			refused(t, method, s.send(asked{method, "/user", "", lines()}), 405, "method_not_allowed")
		}
		for _, path := range []string{
			"", "/", "/nope", "/otp/", "/otp/a/b", "/OTP", "/otp/verify/", "/session/", "/session/x/nope", "/sessions/x/y", "/user/", "/user/x", "/user/phone/", "/user/x/verify", "/user/phone/x", "/user/phone/verify/", "/sessions/", "/device/x", "/jwks",
			"/jwks.json/", "/health/x", "/*", "/session/*", "/otp//verify", "/./otp", "/x/../otp", "/otp%2fverify", "/%6ftp%00", "/user;x", "/user%3bx", "/%2e%2e/auth/otp",
		} {
			for _, method := range []string{"GET", "POST"} {
				refused(t, method+" "+path, s.send(asked{method, path, "", lines("Authorization", bearer(own))}), 404, "not_found")
			}
		}
		for _, path := range []string{"/health", "/jwks.json", "/user", "/session", "/sessions"} {
			r := s.send(asked{"HEAD", path, "", lines("Authorization", bearer(own))})
			if r.status != 200 || len(r.body) > 0 || r.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("HEAD %s: %d %v", path, r.status, r.header)
			}
		}
	})
}
