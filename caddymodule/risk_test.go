package caddymodule_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// riskHook is a service that knows of SIM swaps.
type riskHook struct {
	url   string
	mu    sync.Mutex
	heard []map[string]string
	says  http.HandlerFunc
}

const riskSecret = "a-secret-of-the-risk-hook"

func newRiskHook(t *testing.T) *riskHook {
	t.Helper()
	h := &riskHook{}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	h.url = server.URL
	t.Setenv("RISK_SECRET", riskSecret)
	return h
}

func (h *riskHook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("X-Sidegate-Signature") != sender.Signature([]byte(riskSecret), r.Header.Get("X-Sidegate-Timestamp"), body) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var question map[string]string
	_ = json.Unmarshal(body, &question)
	h.mu.Lock()
	h.heard = append(h.heard, question)
	says := h.says
	h.mu.Unlock()
	says(w, r)
}

func (h *riskHook) answer(says http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.says = says
}

func (h *riskHook) questions() []map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.heard
}

func action(word string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"action":"`+word+`"}`) }
}

// risky runs a site whose codes the hook judges.
func (h *riskHook) risky(t *testing.T, words, global string) *site {
	return startSite(t, "risk webhook "+h.url+" {\nsecret {env.RISK_SECRET}\n"+words+"\n}\n"+global, "")
}

func (s *site) ask(phone string) reply {
	return s.do("POST", apiPath+"/otp", map[string]any{"phone": phone})
}

// messages are the lines that went out.
func (s *site) messages() string {
	lines, _ := os.ReadFile(s.codesFile())
	return string(lines)
}

func (s *site) log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "caddy.log"))
	return string(text)
}

func TestRiskHookAllows(t *testing.T) {
	h := newRiskHook(t)
	h.answer(action("allow"))
	s := h.risky(t, "", "otp {\ntest_number +15555550100 424242 until 2099-01-01\n}")
	challenge := s.start("+46701740605")
	s.signIn("+46701740605")
	if got := h.questions()[0]; len(got) != 5 || got["id"] != challenge+".1" || got["phone"] != "+46701740605" ||
		got["country"] != "SE" || got["channel"] != "sms" || got["client_ip"] != "127.0.0.1" {
		t.Errorf("it heard %v", got)
	}
	if sent := s.messages(); strings.Contains(sent, "127.0.0.1") || strings.Contains(sent, "client") {
		t.Errorf("the sender got the client's address: %s", sent)
	}
	before := len(h.questions())
	wants(t, "a test number", s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": s.start("+15555550100"), "code": "424242"}), 200, "")
	if len(h.questions()) != before {
		t.Error("it was asked about a test number, to which nothing goes")
	}
}

// Attack: trying numbers out, to learn which the hook denies, and to get
// messages back that it has kept. From outside a denied code is one that was
// sent.
func TestRiskHookDenies(t *testing.T) {
	h := newRiskHook(t)
	s := h.risky(t, "on_failure allow", "limits {\nphone_sends 3/1h\n}")
	h.answer(action("allow"))
	sent := s.ask("+46701740605")
	s.waitForStatus(sent.json(t)["challenge_id"].(string), "sent")
	h.answer(action("deny"))
	var challenge string
	for range 3 {
		r := s.ask("+46701740606")
		wants(t, "a denied number", r, 202, "")
		got, want := r.json(t), sent.json(t)
		challenge = got["challenge_id"].(string)
		delete(got, "challenge_id")
		for name, value := range got {
			if value != want[name] || len(got) != len(want)-1 {
				t.Errorf("%s: %v, others get %v", name, value, want[name])
			}
		}
		s.waitForStatus(challenge, "sent")
	}
	wants(t, "the send stays counted", s.ask("+46701740606"), 429, "rate_limited")
	wants(t, "a guess", s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": "0000000"}), 400, "otp_invalid")
	if got := strings.Count(s.messages(), "\n"); got != 1 {
		t.Errorf("%d messages went out, want the allowed one", got)
	}
	log := s.log()
	if got := strings.Count(log, "the risk hook denied it"); got != 3 || strings.Contains(log, "46701740606") || strings.Contains(log, riskSecret) {
		t.Errorf("%d denials in the log, or a number or a secret:\n%s", got, log)
	}
}

// A hook that is down, or talks nonsense, stops codes or lets them out, as the
// operator has chosen.
func TestRiskHookFails(t *testing.T) {
	failures := map[string]http.HandlerFunc{
		"5xx":            func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"another action": action("maybe"),
		"not JSON":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"hangs":          func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
	for name, failure := range failures {
		for _, mode := range []string{"", "on_failure allow"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				h := newRiskHook(t)
				h.answer(failure)
				s := h.risky(t, "timeout 100ms\n"+mode, "limits {\nphone_sends 1/1h\n}")
				challenge := s.start("+46701740605")
				if mode == "" {
					s.waitForStatus(challenge, "failed")
					h.answer(action("allow"))
				} else {
					s.waitForStatus(challenge, "sent")
					wants(t, "a send that counts", s.ask("+46701740605"), 429, "rate_limited")
					return
				}
				if s.messages() != "" {
					t.Error("a code went out")
				}
				// The send was given back.
				s.waitForStatus(s.start("+46701740605"), "sent")
			})
		}
	}
}

// A hook that is known to be down is told to all numbers alike, before anything
// is counted.
func TestRiskHookIsDown(t *testing.T) {
	h := newRiskHook(t)
	h.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	s := h.risky(t, "", "limits {\nphone_sends 1/1h\n}")
	for _, phone := range []string{"+46701740601", "+46701740602", "+46701740603"} {
		s.waitForStatus(s.start(phone), "failed")
	}
	for _, phone := range []string{"+46701740601", "+46701740604"} {
		for range 2 {
			wants(t, phone, s.ask(phone), 503, "delivery_unavailable")
		}
	}
	if log := s.log(); strings.Count(log, "risk hook is down") != 1 || strings.Contains(log, "4670174060") {
		t.Errorf("log:\n%s", log)
	}
}

// Attack: an answer in the hook's place, by somebody who does not know where
// to; redirects are not followed.
func TestRiskHookRedirects(t *testing.T) {
	h := newRiskHook(t)
	other := httptest.NewServer(action("allow"))
	defer other.Close()
	h.answer(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	s := h.risky(t, "", "")
	s.waitForStatus(s.start("+46701740605"), "failed")
}

func init() { caddy.RegisterModule(ListRisk{}) }

// ListRisk is a risk hook of somebody else's package: it denies what is on a
// list, and cannot tell of numbers that end in 9.
type ListRisk struct {
	Denied string `json:"denied"` // a number
}

// CaddyModule makes it the risk hook "list".
func (ListRisk) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.risks.list", New: func() caddy.Module { return new(ListRisk) }}
}

// UnmarshalCaddyfile reads its block.
func (l *ListRisk) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return caddymodule.ReadKeys(d, map[string]caddymodule.Key{"denied": caddymodule.TextKey(&l.Denied)})
}

// Name is what logs call it.
func (*ListRisk) Name() string { return "list" }

// Judge looks into the list.
func (l *ListRisk) Judge(_ context.Context, i auth.Inquiry) (bool, error) {
	if strings.HasSuffix(i.Phone, "9") {
		return true, errors.New("nothing is known of " + i.Phone)
	}
	return i.Phone != l.Denied, nil
}

var _ caddymodule.Risk = (*ListRisk)(nil)

func TestOwnRiskHook(t *testing.T) {
	s := startSite(t, "risk list {\ndenied +46701740606\n}", "")
	s.signIn("+46701740605")
	s.waitForStatus(s.start("+46701740606"), "sent")
	s.waitForStatus(s.start("+46701740609"), "failed")
	if got := strings.Count(s.messages(), "\n"); got != 1 {
		t.Errorf("%d messages, want 1", got)
	}
	if strings.Contains(s.log(), "46701740609") {
		t.Error("the log holds a number")
	}
}
