package caddymodule_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const accountSID = "AC0123456789abcdef0123456789abcdef"

// fakeTwilio takes every message and passes its form on.
func fakeTwilio(t *testing.T) (endpoint string, forms chan url.Values) {
	t.Helper()
	forms = make(chan url.Values, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		forms <- form
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"sid": "SM1", "status": "queued"}`)
	}))
	t.Cleanup(server.Close)
	return server.URL, forms
}

// report posts a status callback as Twilio does: signed for the public address,
// whatever the proxies in between make of it.
func (s *site) report(address, token string, form url.Values) reply {
	s.t.Helper()
	text := address
	for _, name := range slices.Sorted(maps.Keys(form)) {
		text += name + form.Get(name)
	}
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(text))
	public, err := url.Parse(address)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do("POST", public.RequestURI(), form.Encode(), "Content-Type", "application/x-www-form-urlencoded",
		"X-Twilio-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func twilioSite(t *testing.T, global string) (*site, chan url.Values) {
	t.Helper()
	endpoint, forms := fakeTwilio(t)
	s := newSite(t)
	twilio := func(country, token string) string {
		return "sender twilio {\naccount_sid " + accountSID + "\nauth_token " + token + "\nfrom Acme\nendpoint " + endpoint + "\ncountries " + country + "\n}\n"
	}
	config := s.config(global+"\notp {\nallow_countries SE US\n}", "", "")
	s.load(strings.Replace(config, "sender file "+s.codesFile(), twilio("SE", "token-of-sweden")+twilio("US", "token-of-america"), 1))
	t.Cleanup(stopCaddy(t))
	return s, forms
}

func TestStatusCallbacks(t *testing.T) {
	s, forms := twilioSite(t, "origin https://app.example.com")
	for _, row := range []struct{ phone, token, other string }{
		{"+46701740605", "token-of-sweden", "token-of-nobody"}, {american, "token-of-america", "token-of-nobody"},
	} {
		challenge := s.start(row.phone)
		address := (<-forms).Get("StatusCallback")
		if want := "https://app.example.com" + apiPath + "/status/twilio?id=" + challenge + ".1"; address != want {
			t.Fatalf("got %s, want %s", address, want)
		}
		failed := url.Values{"MessageSid": {"SM1"}, "MessageStatus": {"undelivered"}, "ErrorCode": {"30003"}}
		wants(t, "a forged report", s.report(address, row.other, failed), 404, "not_found")
		s.waitForStatus(challenge, "sent")
		wants(t, "a report", s.report(address, row.token, failed), 204, "")
		s.waitForStatus(challenge, "failed")
		wants(t, "the same again", s.report(address, row.token, failed), 204, "")
		delivered := url.Values{"MessageSid": {"SM1"}, "MessageStatus": {"delivered"}}
		wants(t, "it arrived after all", s.report(address, row.token, delivered), 204, "")
		s.waitForStatus(challenge, "sent")
	}
	wants(t, "a sender that does not report", s.report("https://app.example.com"+apiPath+"/status/file", "", nil), 404, "not_found")
	wants(t, "a report without end", s.do("POST", apiPath+"/status/twilio", strings.Repeat("a", 17<<10)), 413, "body_too_large")
	wants(t, "a report read", s.do("GET", apiPath+"/status/twilio", nil), 405, "method_not_allowed")
}

// The address names a challenge, so it must not travel in the clear, and without
// an origin there is none.
func TestNoStatusCallbacks(t *testing.T) {
	for _, origin := range []string{"", "origin http://app.example.com"} {
		s, forms := twilioSite(t, origin)
		s.start("+46701740605")
		if form := <-forms; form.Has("StatusCallback") {
			t.Errorf("%q: got %v", origin, form)
		}
		wants(t, "a report", s.report("https://app.example.com"+apiPath+"/status/twilio", "", nil), 404, "not_found")
	}
}

func (s *site) waitForStatus(challenge, want string) {
	s.t.Helper()
	var got any
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got = s.do("GET", apiPath+"/otp/"+challenge, nil).json(s.t)["status"]; got == want {
			return
		}
	}
	s.t.Errorf("status %v, want %s", got, want)
}
