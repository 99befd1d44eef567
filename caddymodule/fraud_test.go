package caddymodule_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule"
)

// behindProxy runs a site whose clients' addresses are what X-Forwarded-For says.
func behindProxy(t *testing.T, global, gate string) *site {
	t.Helper()
	s := newSite(t)
	proxy := "grace_period 5s\n\tservers {\n\t\ttrusted_proxies static 127.0.0.1/8\n\t\ttrusted_proxies_strict\n\t}"
	s.load(strings.Replace(s.config(global, gate, ""), "grace_period 5s", proxy, 1))
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	return s
}

// Attack: messages that cost money and reach nobody, and trying out countries.
func TestNumbersThatGetNoCode(t *testing.T) {
	s := behindProxy(t, "otp {\ntest_number +442079460000 424242 until 2099-01-01\n}", "")
	for _, row := range []struct {
		phone, ip string
		status    int
		code      string
	}{
		{"+447400123456", "192.0.2.1", 202, ""},
		{"+442079460958", "192.0.2.1", 400, "phone_not_supported"}, // a fixed line
		{"+442079460000", "192.0.2.1", 202, ""},                    // a test number
		{"+449012345678", "192.0.2.1", 400, "phone_not_supported"}, // premium rate
		{"+46701740605", "192.0.2.1", 202, ""},
		{"+12125550123", "192.0.2.1", 202, ""},
		{"+16135550123", "192.0.2.1", 429, "rate_limited"}, // Canada: the fourth country
		{"+16135550123", "192.0.2.2", 202, ""},
	} {
		r := s.do("POST", apiPath+"/otp", map[string]any{"phone": row.phone}, "X-Forwarded-For", row.ip)
		wants(t, row.phone, r, row.status, row.code)
		if row.status == http.StatusTooManyRequests && r.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
}

// Codes that nobody brings back are watched where they cost something, and are
// not where they are free, or their number is no matter, unless that is asked
// for.
func TestUnverifiedCodesAreWatchedWhereTheyCost(t *testing.T) {
	off, some := []string{"off"}, []string{"9/1h"}
	for name, row := range map[string]struct {
		limits caddymodule.Limits
		free   []bool
		want   bool
	}{
		"a gateway":                    {caddymodule.Limits{}, []bool{false}, true},
		"a log":                        {caddymodule.Limits{}, []bool{true}, false},
		"a log and a gateway":          {caddymodule.Limits{}, []bool{true, false}, true},
		"no limit on messages in all":  {caddymodule.Limits{GlobalSends: off}, []bool{false}, false},
		"a log, where it is asked for": {caddymodule.Limits{CountryUnverified: some}, []bool{true}, true},
		"switched off":                 {caddymodule.Limits{CountryUnverified: off}, []bool{false}, false},
	} {
		if got := caddymodule.WatchesUnverified(row.limits, row.free...); got != row.want {
			t.Errorf("%s: watched: %v, want %v", name, got, row.want)
		}
	}
}

// The whole way of a request that must show work, as docs/fraud.md tells it.
func TestProofOfWork(t *testing.T) {
	s := startSite(t, "limits {\ncountry_unverified 1/1h\n}", "")
	s.start("+46701740605")
	r := s.do("POST", apiPath+"/otp", map[string]any{"phone": "+46701740606"})
	wants(t, "without work", r, 429, "rate_limited")
	var problem struct {
		Work struct {
			Challenge string
			Bits      int
		} `json:"proof_of_work"`
	}
	if err := json.Unmarshal(r.body, &problem); err != nil || problem.Work.Bits < 16 || r.header.Get("Retry-After") != "60" {
		t.Fatalf("%v: %s", err, r.body)
	}
	proof := ""
	for n := 0; ; n++ {
		proof = fmt.Sprintf("%s.%d", problem.Work.Challenge, n)
		if sum := sha256.Sum256([]byte(proof)); bits.LeadingZeros32(binary.BigEndian.Uint32(sum[:])) >= problem.Work.Bits {
			break
		}
	}
	wants(t, "another number", s.do("POST", apiPath+"/otp", map[string]any{"phone": "+46701740607", "proof": proof}), 429, "rate_limited")
	r = s.do("POST", apiPath+"/otp", map[string]any{"phone": "+46 70-174 06 06", "proof": proof})
	if wants(t, "with work", r, 202, ""); s.codeOf(r.json(t)["challenge_id"].(string)) == "" {
		t.Error("no code")
	}
	wants(t, "a proof of the wrong type", s.do("POST", apiPath+"/otp", map[string]any{"phone": "+46701740607", "proof": 1}), 400, "invalid_request")
}
