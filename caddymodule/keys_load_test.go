package caddymodule_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// keyLoad is how long keys change under load. 5 s by default; the real thing is
//
//	SIDEGATE_KEY_LOAD=60s go test ./caddymodule -run TestKeysChangeUnderLoad -v
const keyLoad = "SIDEGATE_KEY_LOAD"

// childHeadStart is how long new signing keys wait in a child.
const childHeadStart = "SIDEGATE_TEST_HEAD_START"

const callers = 8

// loaded is a site whose keys change while people use it.
type loaded struct {
	*office
	length, ttl, head time.Duration
	until             time.Time

	requests, refreshes, refused atomic.Int64
	slowest                      atomic.Int64 // nanoseconds

	mu        sync.Mutex
	published map[string]time.Time // kid → when jwks.json first had it
	signed    map[string]time.Time // kid → when a token first had it
}

func newLoaded(t *testing.T) *loaded {
	l := &loaded{office: newOffice(t, socket(t)), published: map[string]time.Time{}, signed: map[string]time.Time{}}
	length := 5 * time.Second
	if text := os.Getenv(keyLoad); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", keyLoad, err)
		}
	}
	l.length, l.ttl = length, max(2*time.Second, length/6).Truncate(time.Second)
	l.head = max(2*time.Second, length/20)
	return l
}

func (l *loaded) over() bool { return time.Now().After(l.until) }

// refuse tells of an answer that there should not be; of the first few only.
func (l *loaded) refuse(what string, r reply, err error) {
	if l.refused.Add(1) <= 10 {
		l.t.Errorf("%s: %d %s, %v", what, r.status, r.body, err)
	}
}

// get is a request that must be answered 200, unless the machine has held it up
// until its token was no longer good. Zero: it always is.
func (l *loaded) get(from *site, path string, good time.Time, headers ...string) {
	begin := time.Now()
	r, err := from.try("GET", path, nil, headers...)
	took := int64(time.Since(begin))
	for seen := l.slowest.Load(); took > seen && !l.slowest.CompareAndSwap(seen, took); seen = l.slowest.Load() {
		continue
	}
	late := !good.IsZero() && time.Now().After(good) && r.status == http.StatusUnauthorized
	if l.requests.Add(1); err != nil || r.status != http.StatusOK && !late {
		l.refuse(path, r, err)
	}
}

// heldToken is an access token, and when it must still be good.
type heldToken struct {
	tokens
	made, good time.Time
}

// hold takes tokens that were asked for then.
func (l *loaded) hold(t tokens, asked time.Time) heldToken {
	now := time.Now()
	kid := kidOf(l.t, t.Access)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.signed[kid].IsZero() {
		l.signed[kid] = now
	}
	// The last second is not counted: exp has whole ones.
	return heldToken{t, now, asked.Add(time.Duration(t.ExpiresIn)*time.Second - 1200*time.Millisecond)}
}

// bearer uses every token until it expires, whatever became of its key, and
// refreshes early.
func (l *loaded) bearer(session tokens) {
	newest := heldToken{tokens: session}
	var held []heldToken
	for !l.over() {
		held = slices.DeleteFunc(held, func(h heldToken) bool { return time.Now().After(h.good) })
		if len(held) == 0 || time.Since(newest.made) > l.ttl/3 {
			asked := time.Now()
			r, err := l.try("POST", apiPath+"/refresh", map[string]any{"refresh_token": newest.Refresh})
			if l.refreshes.Add(1); err != nil || r.status != http.StatusOK {
				l.refuse("refresh", r, err)
				return
			}
			newest = l.hold(l.tokens(r), asked)
			held = append(held, newest)
		}
		h := held[rand.IntN(len(held))]
		l.get(l.site, "/app", h.good, "Authorization", bearer(h.tokens))
	}
}

// cookie is a browser, whose cookie changes as it goes.
func (l *loaded) cookie(browser *site) {
	for !l.over() {
		l.get(browser, "/app", time.Time{})
	}
}

// browser signs in with a cookie.
func (l *loaded) browser(phone string) *site {
	l.t.Helper()
	browser := *l.site
	client := *l.client
	browser.client = &client
	browser.withJar()
	challenge := browser.start(phone)
	wants(l.t, "the cookie", browser.do("POST", apiPath+"/otp/verify", map[string]any{
		"challenge_id": challenge, "code": browser.codeOf(challenge), "transport": "cookie",
	}, "Sec-Fetch-Site", "same-origin"), 200, "")
	return &browser
}

// watch reads jwks.json all the time: what was shown once is shown for good, for
// tokens of it may live.
func (l *loaded) watch() {
	for ; !l.over(); time.Sleep(50 * time.Millisecond) {
		now, kids := time.Now(), l.site.published()
		l.mu.Lock()
		for _, kid := range kids {
			if l.published[kid].IsZero() {
				l.published[kid] = now
			}
		}
		if len(kids) < len(l.published) {
			l.t.Errorf("jwks.json has %d keys, of %d that tokens may have", len(kids), len(l.published))
		}
		l.mu.Unlock()
	}
}

// turn changes keys again and again until the load is over, and counts.
func (l *loaded) turn(every time.Duration, acts ...string) (n int) {
	for ; !l.over(); time.Sleep(every) {
		for _, act := range acts {
			if r := l.ask("POST", act, "{}"); r.status != http.StatusOK {
				l.t.Errorf("%s: %d %s", act, r.status, r.body)
			}
		}
		n++
	}
	return n
}

// Signing keys and master keys change under load: no request is refused, old
// tokens live out their life, and jwks.json has a key before any token has it,
// and as long as one may. What is there at the end opens the store again.
func TestKeysChangeUnderLoad(t *testing.T) {
	l := newLoaded(t)
	t.Setenv(childHeadStart, l.head.String())
	config := l.config(fmt.Sprintf("%s\ntokens {\n access_ttl %s\n}", plenty, l.ttl), "")
	process := startChild(t, config)
	var sessions []tokens
	var browsers []*site
	for i := range callers {
		phone := fmt.Sprintf("+4670123456%d", i)
		if i%4 == 3 {
			browsers = append(browsers, l.browser(phone))
		} else {
			sessions = append(sessions, l.signIn(phone))
		}
	}
	begin := time.Now()
	l.until = begin.Add(l.length)
	var group sync.WaitGroup
	for _, session := range sessions {
		group.Go(func() { l.bearer(session) })
	}
	for _, browser := range browsers {
		group.Go(func() { l.cookie(browser) })
	}
	group.Go(l.watch)
	var rotations, masters int
	group.Go(func() { rotations = l.turn(l.head/2, "keys/rotate") })
	group.Go(func() { masters = l.turn(l.head/4, "keys/master", "keys/master/retire") })
	group.Wait()

	took := time.Since(begin)
	t.Logf("%d requests and %d refreshes in %v, %d refused, the slowest took %v; %d signing keys made, %d seen in tokens, %d shown; %d master keys",
		l.requests.Load(), l.refreshes.Load(), took.Round(time.Millisecond), l.refused.Load(), time.Duration(l.slowest.Load()).Round(time.Millisecond),
		rotations, len(l.signed), len(l.published), masters)
	l.checkOverlap(rotations)
	if masters < 5 {
		t.Errorf("only %d master keys: that proves nothing", masters)
	}

	fresh := l.signIn("+46701234569")
	process.kill()
	l.client.CloseIdleConnections()
	startChild(t, config)
	wants(t, "after a kill", l.do("GET", "/app", nil, "Authorization", bearer(fresh)), 200, "")
}

// checkOverlap fails unless each key was shown for its head start before a token
// had it.
func (l *loaded) checkOverlap(rotations int) {
	l.t.Helper()
	if rotations < 4 || len(l.signed) < 3 {
		l.t.Errorf("%d rotations, %d keys in tokens: that proves nothing", rotations, len(l.signed))
	}
	first := true
	for _, kid := range slices.SortedFunc(maps.Keys(l.signed), func(a, b string) int { return l.signed[a].Compare(l.signed[b]) }) {
		shown, known := l.published[kid]
		// The key of the start signs at once. sign_from has whole seconds, and the
		// watcher looks every 50 ms.
		if slack := time.Second + 500*time.Millisecond; !known || !first && shown.After(l.signed[kid].Add(slack-l.head)) {
			l.t.Errorf("key %s: shown at %v, in a token at %v", kid, shown, l.signed[kid])
		}
		first = false
	}
	if strings.Count(string(l.ask("GET", "keys/master", "").body), "fingerprint") != 1 {
		l.t.Error("retired master keys open the store")
	}
}
