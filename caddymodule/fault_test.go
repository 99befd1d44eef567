package caddymodule_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule"
)

// person has two sessions, one of each transport, and waits for a third.
type person struct {
	phone     string
	own       tokens
	cookie    string // the whole pair
	browser   string // the session of the cookie
	challenge string
}

func (p *person) credential(name string) []string {
	if name == "cookie" {
		return []string{"Cookie", p.cookie}
	}
	return []string{"Authorization", bearer(p.own)}
}

// act is one request of a person.
type act struct {
	name   string
	method string
	path   string
	body   string   // {x} stands for what is the person's own
	header []string // the credential
	status int      // when the store works
	ends   string   // the credentials whose sessions it ends then
	// late says that calls are broken in vain after the point of no return, and
	// the answer is the good one.
	late bool
}

var (
	withToken  = []string{"Authorization", "Bearer {access}"}
	withCookie = []string{"Cookie", "{cookie}"}
	nobody     []string
	opensPage  = []string{"Cookie", "{cookie}", "Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "none", "Sec-Fetch-Dest", "document"}
	submits    = []string{"Cookie", "{cookie}", "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate"}
)

// What ends sessions of a user, or makes room for a new one, is decided by one
// write of the user's record. Notes in the sessions' own records follow; when
// one fails, the next look at the session finds the verdict in the user's.
const late = true

var acts = []act{
	{"code", "POST", apiPath + "/otp", `{"phone":"{fresh}"}`, nobody, 202, "", false},
	{"code's status", "GET", apiPath + "/otp/{challenge}", "", nobody, 200, "", false},
	// The counted failures are given back after the code was consumed. When that
	// fails a right code counts as a wrong one: the stricter way.
	{"sign-in", "POST", apiPath + "/otp/verify", `{"challenge_id":"{challenge}","code":"424242"}`, nobody, 200, "", late},
	{"sign-in on the same device", "POST", apiPath + "/otp/verify", `{"challenge_id":"{challenge}","code":"424242","device":{"device_id":"phone"}}`, nobody, 200, "token", late},
	{"refresh", "POST", apiPath + "/refresh", `{"refresh_token":"{refresh}"}`, nobody, 200, "", false},
	{"refresh by cookie", "POST", apiPath + "/refresh", `{}`, withCookie, 200, "", false},
	{"logout", "POST", apiPath + "/logout", `{}`, withToken, 204, "token", false},
	{"logout by refresh token", "POST", apiPath + "/logout", `{"refresh_token":"{refresh}"}`, nobody, 204, "token", false},
	{"logout by cookie", "POST", apiPath + "/logout", "", withCookie, 204, "cookie", false},
	{"logout of the others", "POST", apiPath + "/logout", `{"scope":"others"}`, withToken, 204, "cookie", late},
	{"logout of all", "POST", apiPath + "/logout", `{"scope":"all"}`, withToken, 204, "token cookie", late},
	{"session", "GET", apiPath + "/session", "", withToken, 200, "", false},
	{"another session", "GET", apiPath + "/session/{browser}", "", withToken, 200, "", false},
	{"activity", "POST", apiPath + "/session/{own}/activity", `{}`, withToken, 204, "", false},
	{"activity elsewhere", "POST", apiPath + "/session/{browser}/activity", `{}`, withToken, 204, "", false},
	{"sessions", "GET", apiPath + "/sessions", "", withToken, 200, "", false},
	{"end of another", "DELETE", apiPath + "/sessions/{browser}", "", withToken, 204, "cookie", false},
	{"end of its own", "DELETE", apiPath + "/sessions/{own}", "", withToken, 204, "token", false},
	{"end of the others", "DELETE", apiPath + "/sessions", "", withCookie, 204, "token", late},
	{"device", "PUT", apiPath + "/device", `{"device_name":"x","fcm_token":"y"}`, withToken, 200, "", false},
	{"user", "GET", apiPath + "/user", "", withToken, 200, "", false},
	{"user by cookie", "GET", apiPath + "/user", "", withCookie, 200, "", false},
	{"question of a proxy", "GET", apiPath + "/verify", "", withToken, 204, "", false},
	{"keys", "GET", apiPath + "/jwks.json", "", nobody, 200, "", false},
	{"health", "GET", apiPath + "/health", "", nobody, 200, "", false},
	{"account page", "GET", "/auth/account", "", opensPage, 200, "", false},
	{"sign-out page", "POST", "/auth/logout", " ", submits, 303, "cookie", false},
	{"events", "GET", apiPath + "/events", "", withToken, 200, "", false},
	{"app", "GET", "/app", "", withToken, 200, "", false},
	{"app by cookie", "GET", "/app", "", withCookie, 200, "", false},
	{"app, in a browser", "GET", "/app", "", opensPage, 200, "", false},
	{"app's form", "POST", "/app", "x=1", submits, 200, "", false},
	// Without a verdict on the credential nobody is anonymous either.
	{"open path", "GET", "/open", "", withToken, 200, "", false},
	{"stranger on an open path", "GET", "/open", "", nobody, 200, "", false},
}

// faultSite is a site on a store that breaks, with people who are signed in and
// whom no one has in memory.
type faultSite struct {
	*site
	store  *faulty
	config string
	people []*person // not yet used
}

func newFaultSite(t *testing.T, people int) *faultSite {
	t.Helper()
	s := &faultSite{store: newFaulty(t), site: newSite(t)}
	var numbers strings.Builder
	for i := range people {
		fmt.Fprintf(&numbers, "\t\ttest_number %s 424242 until 2099-01-01\n", testNumber(i))
	}
	badger := fmt.Sprintf("store badger {\n\t\t\tpath %s/store\n\t\t}", s.dir)
	key := "master_key " + strings.Repeat("0123456789abcdef", 4)
	s.config = s.site.config("otp {\n"+numbers.String()+"\t\t}\n"+plenty, "public /open", "")
	s.config = strings.Replace(s.config, "level DEBUG", "level FATAL", 1) // half of the time otherwise
	s.config = strings.Replace(s.config, badger, key+"\n\t\tstore faulty", 1)
	s.load(s.config)
	t.Cleanup(func() { _ = caddy.Stop() })
	for i := range people {
		s.people = append(s.people, s.newPerson(testNumber(i)))
	}
	s.again()
	return s
}

// again starts Caddy anew, so that no session is in memory.
func (s *faultSite) again() {
	s.t.Helper()
	if err := caddy.Stop(); err != nil {
		s.t.Fatal(err)
	}
	s.load(s.config)
}

func (s *faultSite) next() *person {
	s.t.Helper()
	if len(s.people) == 0 {
		s.t.Fatal("there are too few people")
	}
	p := s.people[0]
	s.people = s.people[1:]
	return p
}

// plenty counts, other than noLimits, and never refuses.
const plenty = `limits {
	phone_sends 9000/1h
	phone_failures 9000/1h
	ip_sends 90000/1h
	ip_failures 90000/1h
	prefix_sends 90000/1h
	global_sends 90000/1h
}`

func testNumber(i int) string { return fmt.Sprintf("+1555%07d", 5000000+i) }

func (s *site) newPerson(phone string) *person {
	s.t.Helper()
	p := &person{phone: phone, own: s.signInWith(phone, map[string]any{"device_id": "phone"})}
	r := s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": s.start(phone), "code": "424242", "transport": "cookie"})
	p.cookie, _, _ = strings.Cut(r.header.Get("Set-Cookie"), ";")
	p.browser = s.tokens(r).SessionID
	return p
}

// prepare gets a challenge for acts that need one.
func (s *site) prepare(a act, p *person) {
	if strings.Contains(a.path+a.body, "{challenge}") {
		p.challenge = s.start(p.phone)
	}
}

// perform makes the act's request.
func (s *site) perform(a act, p *person) (reply, error) {
	fill := strings.NewReplacer(
		"{access}", p.own.Access, "{refresh}", p.own.Refresh, "{own}", p.own.SessionID, "{cookie}", p.cookie, "{browser}", p.browser,
		"{challenge}", p.challenge, "{fresh}", "+4670"+p.phone[len(p.phone)-7:],
	)
	header := make([]string, len(a.header))
	for i, text := range a.header {
		header[i] = fill.Replace(text)
	}
	var body any
	if a.body != "" {
		body = fill.Replace(a.body)
	}
	if a.name != "events" {
		return s.try(a.method, fill.Replace(a.path), body, header...)
	}
	// It never ends when all is well.
	req, err := http.NewRequest(a.method, s.url(a.path), nil)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set(header[0], header[1])
	resp, err := s.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == a.status {
		return reply{resp.StatusCode, resp.Header, nil}, nil
	}
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, text}, err
}

// alive fails unless exactly those of the person's sessions live that should.
func (s *site) alive(what string, p *person, ended string) {
	s.t.Helper()
	for _, name := range []string{"token", "cookie"} {
		r := s.do("GET", "/app", nil, p.credential(name)...)
		if strings.Contains(ended, name) {
			wants(s.t, what+": the ended "+name, r, 401, "session_revoked")
		} else {
			wants(s.t, what+": the "+name, r, 200, "")
		}
	}
	s.upstream.take()
}

// A store that fails at any call of any request: 503, the app sees nothing, and
// everyone is signed in as before. It holds for one failure with no session in
// memory, and for a store that stays down, by panics, with all of them there.
func TestStoreFailsAtEveryCall(t *testing.T) {
	s := newFaultSite(t, 450)
	ended := map[*person]string{}
	for _, a := range acts {
		for _, way := range []struct {
			name       string
			warm, down bool
			how        how
		}{{"cold, fails once", false, false, fails}, {"warm, panics from then on", true, true, panics}} {
			for n, more := 0, true; more; n++ {
				p := s.next()
				what := fmt.Sprintf("%s, %s, call %d", a.name, way.name, n)
				if way.warm {
					s.alive(what, p, "")
				}
				s.prepare(a, p)
				s.store.breakAt(n, way.how, way.down)
				r, err := s.perform(a, p)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				calls, hit := s.store.heal()
				more = hit
				if names := s.judge(what, a, p, r, hit); names != "" {
					ended[p] = names
				}
				if way.warm && strings.HasPrefix(a.name, "app") && calls > 0 {
					t.Errorf("%s: %d calls of the store, want none", what, calls)
				}
			}
		}
	}
	s.again() // what was answered holds after a restart
	for p, names := range ended {
		s.alive("after the restart, ended "+names, p, names)
	}
}

// judge holds an answer against what a store that did or did not break leads
// to, and tells whose sessions are over.
func (s *faultSite) judge(what string, a act, p *person, r reply, hit bool) (ended string) {
	s.t.Helper()
	if !hit || a.late && r.status == a.status {
		wants(s.t, what, r, a.status, "")
		s.upstream.take()
		s.alive(what, p, a.ends)
		return a.ends
	}
	s.refusedForFault(what, a, r, 503, "store_unavailable")
	s.alive(what, p, "")
	s.repeat(what, a, p)
	return a.ends
}

// refusedForFault fails unless the answer is the refusal and nothing went
// through.
func (s *faultSite) refusedForFault(what string, a act, r reply, status int, code string) {
	s.t.Helper()
	for _, got := range s.upstream.take() {
		s.t.Errorf("%s: the app saw %s %s", what, got.Method, got.URL)
	}
	if strings.HasPrefix(a.path, "/auth/") { // a page with words for people
		if r.status != status || r.header.Get("Sidegate-Error") != code || status == 503 && r.header.Get("Retry-After") == "" {
			s.t.Errorf("%s: got %d %v, want %d %s", what, r.status, r.header, status, code)
		}
		return
	}
	refused(s.t, what, r, status, code)
}

// repeat makes the request again, now that the store works.
func (s *faultSite) repeat(what string, a act, p *person) {
	s.t.Helper()
	r, err := s.perform(a, p)
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	if r.code() == "otp_expired" && a.path == apiPath+"/otp/verify" {
		// The store could not take the used code back either, and one code never
		// makes two sessions. A new one is needed, and nothing else.
		s.prepare(a, p)
		if r, err = s.perform(a, p); err != nil {
			s.t.Fatalf("%s: %v", what, err)
		}
	}
	wants(s.t, what+", repeated", r, a.status, "")
	s.upstream.take()
	if a.ends != "" {
		s.alive(what+", repeated", p, a.ends)
	}
}

// A store that hangs is a store that is down: everyone who needs it gets an
// answer, and who is in memory does not need it.
func TestStoreHangs(t *testing.T) {
	defer caddymodule.SetStoreTimeout(caddymodule.SetStoreTimeout(400 * time.Millisecond))
	s := newFaultSite(t, 2*len(acts))
	warm := s.next()
	s.alive("before", warm, "")
	s.store.breakAt(0, hangs, true)
	type result struct {
		act    act
		person *person
		reply  reply
		err    error
	}
	results := make(chan result, len(acts))
	for _, a := range acts {
		p := s.next()
		if strings.Contains(a.path+a.body, "{challenge}") {
			p.challenge = newID // nobody has it, and the store cannot say so
		}
		go func() {
			r, err := s.perform(a, p)
			results <- result{a, p, r, err}
		}()
	}
	for range acts {
		got := <-results
		switch {
		case got.err != nil:
			t.Errorf("%s: %v", got.act.name, got.err)
		case got.act.name == "keys", strings.HasPrefix(got.act.name, "stranger"): // need no store
			wants(t, got.act.name, got.reply, got.act.status, "")
		case got.reply.status != 503 || got.reply.header.Get("Sidegate-Error") != "store_unavailable" || got.reply.header.Get("Retry-After") == "":
			t.Errorf("%s: got %d %v", got.act.name, got.reply.status, got.reply.header)
		}
		defer s.alive(got.act.name, got.person, "")
	}
	for _, got := range s.upstream.take() {
		if got.URL.Path != "/open" || got.Header.Get("X-Auth-User-Id") != "" {
			t.Errorf("the app saw %s %s", got.Method, got.URL)
		}
	}
	s.alive("in memory", warm, "")
	s.store.heal()
}

// newID has the form of a challenge's id.
const newID = "AAAAAAAAAAAAAAAAAAAAAA"
