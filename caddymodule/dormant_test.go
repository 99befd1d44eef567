package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// dormantSite is a site whose directory knows dormant accounts, over a store
// in which time can be turned back.
type dormantSite struct {
	*site
	config string
	store  *faulty
}

func startDormant(t *testing.T, words string) *dormantSite {
	t.Helper()
	s := &dormantSite{site: newSite(t), store: newFaulty(t)}
	badger := fmt.Sprintf("store badger {\n\t\t\tpath %s/store\n\t\t}", s.dir)
	global := "sessions {\nidle_timeout 400d\nmax_lifetime 400d\n}\n" + noLimits
	s.config = strings.Replace(s.site.config(global, "", ""), badger,
		"master_key "+strings.Repeat("0123456789abcdef", 4)+"\nstore faulty\ndirectory local {\n"+words+"\n}", 1)
	s.load(s.config)
	t.Cleanup(func() { _ = caddy.Stop() })
	return s
}

// age makes the user's account, and its session, as old as that.
func (s *dormantSite) age(who tokens, d time.Duration) {
	s.t.Helper()
	if err := caddy.Stop(); err != nil {
		s.t.Fatal(err)
	}
	s.client.CloseIdleConnections() // they are dead, which a client may learn too late
	user := fmt.Sprint(who.UserID)
	s.turnBack("user/"+user, d, "created_at", "signed_in")
	s.turnBack("session/"+who.SessionID, d, "created_at", "auth_time", "rotated_at")
	if err := s.store.Store.Put(s.t.Context(), []auth.Write{{Key: "touch/" + who.SessionID}, {Key: "used/" + user}}); err != nil {
		s.t.Fatal(err)
	}
	s.load(s.config)
}

func (s *dormantSite) turnBack(key string, d time.Duration, fields ...string) {
	s.t.Helper()
	records, err := s.store.Store.Get(s.t.Context(), key)
	if err != nil || records[0].Version == 0 {
		s.t.Fatalf("no %s: %v", key, err)
	}
	var record map[string]any
	if err := json.Unmarshal(records[0].Value[1:], &record); err != nil {
		s.t.Fatal(err)
	}
	for _, field := range fields {
		at, err := time.Parse(time.RFC3339, record[field].(string))
		if err != nil {
			s.t.Fatal(err)
		}
		record[field] = at.Add(-d)
	}
	value, err := json.Marshal(record)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.store.Store.Put(s.t.Context(), []auth.Write{{Key: key, Value: append(records[0].Value[:1:1], value...)}}); err != nil {
		s.t.Fatal(err)
	}
}

// bringCode asks for a code and brings it back.
func (s *dormantSite) bringCode(phone string, headers ...string) (body map[string]any, answer reply) {
	s.t.Helper()
	challenge := s.start(phone)
	body = map[string]any{"challenge_id": challenge, "code": s.codeOf(challenge)}
	return body, s.do("POST", apiPath+"/otp/verify", body, headers...)
}

const (
	olga = "+46701740605"
	nina = "+46701740606"
	year = 365 * 24 * time.Hour
)

// Attack: the next owner of a number signs in as the one before.
func TestDormantAccountWaitsForAnOperator(t *testing.T) {
	s := startDormant(t, "dormant_after 365d")
	own, other := s.signIn(olga), s.signIn(nina)
	s.age(own, year)
	s.age(other, year-time.Hour)
	_, r := s.bringCode(nina)
	wants(t, "an hour earlier", r, 200, "")
	body, r := s.bringCode(olga)
	wants(t, "a right code", r, 403, "account_disabled")
	wants(t, "the same one", s.do("POST", apiPath+"/otp/verify", body), 400, "otp_expired")
	log := s.log()
	if !strings.Contains(log, "an operator must") || !strings.Contains(log, `"phone":"…05"`) || strings.Contains(log, olga[1:]) {
		t.Errorf("log:\n%s", log)
	}
	wants(t, "who is still signed in", s.do("GET", "/app", nil, "Authorization", bearer(own)), 200, "")
	_, r = s.bringCode(olga)
	wants(t, "now that a session was used", r, 200, "")
}

// A browser that signed in on the number before brings its cookie, and the
// number's next owner has none.
func TestKnownBrowserWakesItsAccount(t *testing.T) {
	s := startDormant(t, "dormant_after 365d")
	challenge := s.start(olga)
	r := s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": s.codeOf(challenge)}, "Sec-Fetch-Site", "same-origin")
	own := s.tokens(r)
	cookie, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")
	s.age(own, year)
	_, r = s.bringCode(olga, "Cookie", cookie, "Sec-Fetch-Site", "same-origin")
	if again := s.tokens(r); again.UserID != own.UserID {
		t.Errorf("user %d, want %d", again.UserID, own.UserID)
	}
}

func TestDormantHook(t *testing.T) {
	var mu sync.Mutex
	var heard map[string]any
	says := "{}"
	status := http.StatusOK
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Sidegate-Signature") != sender.Signature([]byte("a-dormant-secret"), r.Header.Get("X-Sidegate-Timestamp"), body) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		_ = json.Unmarshal(body, &heard)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, says)
	}))
	t.Cleanup(app.Close)
	answer := func(code int, text string) {
		mu.Lock()
		defer mu.Unlock()
		status, says = code, text
	}
	t.Setenv("DORMANT_SECRET", "a-dormant-secret")
	s := startDormant(t, "dormant_after 90d\ndormant webhook "+app.URL+" {\nsecret {env.DORMANT_SECRET}\n}")
	own := s.signIn(olga)
	if heard != nil {
		t.Errorf("asked about a new account: %v", heard)
	}
	s.age(own, year)

	body, r := s.bringCode(olga)
	for _, failure := range []func(){
		func() { answer(200, `{"action":"allow"}`) }, func() { answer(500, `{"action":"open"}`) }, func() { answer(200, `<html>`) },
	} {
		wants(t, "no answer", r, 503, "store_unavailable")
		failure()
		r = s.do("POST", apiPath+"/otp/verify", body)
	}
	answer(403, "")
	wants(t, "neither", s.do("POST", apiPath+"/otp/verify", body), 403, "account_disabled")

	answer(200, `{"action":"open"}`)
	body, r = s.bringCode(olga)
	if back := s.tokens(r); back.UserID != own.UserID {
		t.Errorf("user %d, want %d", back.UserID, own.UserID)
	}
	used, err := time.Parse(time.RFC3339, fmt.Sprint(heard["last_used_at"]))
	if age := time.Since(used); err != nil || len(heard) != 4 || heard["auth_user_id"] != float64(own.UserID) || heard["phone"] != olga ||
		heard["challenge_id"] != body["challenge_id"] || age < year || age > year+time.Hour {
		t.Errorf("heard %v", heard)
	}

	own = s.signIn(nina)
	s.age(own, year)
	answer(200, `{"action":"new"}`)
	_, r = s.bringCode(nina)
	next := s.tokens(r)
	if next.UserID == own.UserID || r.json(t)["is_new_user"] != true {
		t.Errorf("user %d again: %s", next.UserID, r.body)
	}
	wants(t, "the old session", s.do("GET", "/app", nil, "Authorization", bearer(own)), 401, "session_revoked")
	info := s.do("GET", apiPath+"/session/"+own.SessionID, nil, "Authorization", bearer(own)).json(t)
	if info["end_reason"] != "revoked" {
		t.Errorf("the old session: %v", info)
	}
	wants(t, "the old refresh token", s.do("POST", apiPath+"/refresh", map[string]any{"refresh_token": own.Refresh}), 400, "session_revoked")
	if again := s.signIn(nina); again.UserID != next.UserID {
		t.Errorf("then user %d, now %d", next.UserID, again.UserID)
	}
	if log := s.log(); strings.Contains(log, olga[1:]) || strings.Contains(log, nina[1:]) || strings.Contains(log, "a-dormant-secret") || !strings.Contains(log, "goes to a new one") {
		t.Errorf("log:\n%s", log)
	}
}
