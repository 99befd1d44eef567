package caddymodule_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// The sender that docs/senders.md shows is the one of own_sender_test.go.
func TestDocumentedSender(t *testing.T) {
	shown := regexp.MustCompile("(?ms)^```go\n(.*?)^```").FindStringSubmatch(readPage(t, "../docs/senders.md"))
	tested := strings.Replace(readPage(t, "own_sender_test.go"), "package caddymodule_test", "package gateway", 1)
	if shown == nil || shown[1] != tested {
		t.Error("docs/senders.md shows another sender than the one that is tested")
	}
}

// A sender of somebody else's package signs people in.
func TestOwnSender(t *testing.T) {
	texts := make(chan string, 1)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer an-own-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.FormValue("to") == "+46701740699" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		texts <- r.FormValue("text")
	}))
	defer gateway.Close()
	t.Setenv("GATEWAY_TOKEN", "an-own-token")
	s := newSite(t)
	own := "sender gateway {\nurl " + gateway.URL + "\ntoken {env.GATEWAY_TOKEN}\ncountries SE\n}"
	config := strings.Replace(s.config("otp {\nallow_countries SE\n}", "", ""), "sender file "+s.codesFile(), own, 1)
	s.load(config)
	t.Cleanup(stopCaddy(t))

	challenge := s.start("+46701740605")
	code := regexp.MustCompile(`[0-9]{6}`).FindString(<-texts)
	wants(t, "the code of the text", s.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": code}), 200, "")

	s.waitForStatus(s.start("+46701740699"), "failed")
}
