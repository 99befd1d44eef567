package sender_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

const (
	hex32   = "0123456789abcdef0123456789abcdef"
	account = "AC" + hex32
)

// seen is a request as a fake provider got it.
type seen struct {
	method, path string
	header       http.Header
	form         url.Values
	user, pass   string
}

// provider is a fake of a provider's API. It answers all requests alike.
func provider(t *testing.T, status int, body string) (*httptest.Server, *[]seen) {
	t.Helper()
	var got []seen
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		form, err := url.ParseQuery(string(text))
		if err != nil {
			t.Errorf("the body is no form: %v", err)
		}
		user, pass, _ := r.BasicAuth()
		got = append(got, seen{r.Method, r.URL.RequestURI(), r.Header, form, user, pass})
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server, &got
}

const twilioCreated = `{"account_sid": "` + account + `", "sid": "SM` + hex32 + `", "status": "queued", "error_code": null, "error_message": null}`

func twilioOptions(endpoint string) sender.TwilioOptions {
	return sender.TwilioOptions{AccountSID: account, AuthToken: "hunter2", From: "+15005550006", Endpoint: endpoint}
}

func twilio(t *testing.T, o sender.TwilioOptions) *sender.Twilio {
	t.Helper()
	s, err := sender.NewTwilio(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// The requests are those of
// https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource (To, From,
// MessagingServiceSid, Body, ContentSid, ContentVariables, ValidityPeriod),
// https://www.twilio.com/docs/voice/api/call-resource#create-a-call-resource (To, From, Twiml),
// https://www.twilio.com/docs/voice/twiml/say and, for the two ways to sign in,
// https://www.twilio.com/docs/usage/requests-to-twilio.
func TestTwilioRequests(t *testing.T) {
	const key = "SK" + hex32
	now := time.Now()
	for _, row := range []struct {
		name, channel, path, user, pass string
		change                          func(*sender.TwilioOptions)
		form                            url.Values
	}{
		{"a text message from a number, with the auth token", "sms", "Messages", account, "hunter2", nil, url.Values{
			"To": {number}, "From": {"+15005550006"}, "Body": {"Your Acme & Co code is 048151.\n\n@a.example #048151"}, "ValidityPeriod": {"299"},
		}},
		{"a text message from a pool of numbers, with an API key", "sms", "Messages", key, "hunter3", func(o *sender.TwilioOptions) {
			o.AuthToken, o.APIKey, o.APISecret, o.From, o.MessagingService = "", key, "hunter3", "", "MG"+hex32
		}, url.Values{
			"To": {number}, "MessagingServiceSid": {"MG" + hex32}, "Body": {"Your Acme & Co code is 048151.\n\n@a.example #048151"}, "ValidityPeriod": {"299"},
		}},
		{"an API key signs in even beside the auth token", "sms", "Messages", key, "hunter3", func(o *sender.TwilioOptions) {
			o.APIKey, o.APISecret = key, "hunter3"
		}, url.Values{
			"To": {number}, "From": {"+15005550006"}, "Body": {"Your Acme & Co code is 048151.\n\n@a.example #048151"}, "ValidityPeriod": {"299"},
		}},
		{"a call speaks the code digit by digit, and not the last line", "voice", "Calls", account, "hunter2", func(o *sender.TwilioOptions) {
			o.VoiceFrom = "+15005550009"
		}, url.Values{
			"To": {number}, "From": {"+15005550009"},
			"Twiml": {`<Response><Say language="sv-SE">Your Acme &amp; Co code is 0, 4, 8, 1, 5, 1.</Say><Pause length="1"/>` +
				`<Say language="sv-SE">Your Acme &amp; Co code is 0, 4, 8, 1, 5, 1.</Say></Response>`},
		}},
		{"WhatsApp fills the approved template", "whatsapp", "Messages", account, "hunter2", func(o *sender.TwilioOptions) {
			o.WhatsAppFrom, o.WhatsAppContent = "+14155238886", "HX"+hex32
		}, url.Values{
			"To": {"whatsapp:" + number}, "From": {"whatsapp:+14155238886"}, "ContentSid": {"HX" + hex32}, "ContentVariables": {`{"1":"048151"}`},
			"ValidityPeriod": {"299"},
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			server, got := provider(t, http.StatusCreated, twilioCreated)
			o := twilioOptions(server.URL + "/")
			o.Now = func() time.Time { return now }
			if row.change != nil {
				row.change(&o)
			}
			m := message()
			m.Channel, m.Language, m.ExpiresAt = row.channel, "sv", now.Add(299*time.Second+900*time.Millisecond)
			m.Text = "Your Acme & Co code is " + code + ".\n\n@a.example #" + code
			if err := twilio(t, o).Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			r := (*got)[0]
			if want := "/2010-04-01/Accounts/" + account + "/" + row.path + ".json"; len(*got) != 1 || r.method != http.MethodPost || r.path != want {
				t.Errorf("%d requests, %s %s, want one POST %s", len(*got), r.method, r.path, want)
			}
			if r.user != row.user || r.pass != row.pass {
				t.Errorf("signed in as %s with %s", r.user, r.pass)
			}
			if r.header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.header.Get("Idempotency-Key") != "" {
				t.Errorf("headers %v", r.header)
			}
			if r.form.Encode() != row.form.Encode() {
				t.Errorf("got  %v\nwant %v", r.form, row.form)
			}
		})
	}
}

// What the codes mean is on https://www.twilio.com/docs/api/errors.
func TestTwilioAnswers(t *testing.T) {
	failure := func(status, code int) string {
		return fmt.Sprintf(`{"code": %d, "message": "about %s and %s", "more_info": "https://www.twilio.com/docs/errors/%d", "status": %d}`, code, number, "048151", code, status)
	}
	for _, row := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"created", 201, twilioCreated, ""},
		{"created and failed at once", 201, `{"sid": "SM1", "status": "failed", "error_code": 30006}`, "refused"},
		{"created without a sid", 201, `{}`, "failed"},
		{"a page instead of JSON", 200, `<html>`, "failed"},
		{"no valid number", 400, failure(400, 21211), "refused"},
		{"a landline", 400, failure(400, 21614), "refused"},
		{"the country is not enabled", 403, failure(403, 21408), "refused"},
		{"has opted out", 400, failure(400, 21610), "refused"},
		{"a code that nobody knows yet", 400, failure(400, 29999), "refused"},
		{"the from number is not ours", 400, failure(400, 21659), "failed"},
		{"the messaging service is gone", 404, failure(404, 21701), "failed"},
		{"the queue is full", 429, failure(429, 21611), "failed"},
		{"wrong credentials", 401, failure(401, 20003), "failed"},
		{"the account is suspended", 400, failure(400, 10001), "failed"},
		{"too many requests", 429, failure(429, 20429), "failed"},
		{"a 400 of a proxy in between", 400, `Bad Request`, "failed"},
		{"a fault", 500, failure(500, 20500), "failed"},
		{"a fault about a number", 500, failure(500, 21211), "failed"},
		{"a redirect", 307, ``, "failed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			server, got := provider(t, row.status, row.body)
			err := twilio(t, twilioOptions(server.URL)).Send(t.Context(), message())
			if outcome(err) != row.want || len(*got) != 1 {
				t.Errorf("%d requests, %v; want %q", len(*got), err, row.want)
			}
			discreet(t, err)
		})
	}
}

// outcome is what the queue makes of an error.
func outcome(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, sender.ErrRefused):
		return "refused"
	}
	return "failed"
}

func TestNewTwilioChecksItsOptions(t *testing.T) {
	for name, change := range map[string]func(*sender.TwilioOptions){
		"account_sid is needed":             func(o *sender.TwilioOptions) { o.AccountSID = "" },
		"account_sid must be AC":            func(o *sender.TwilioOptions) { o.AccountSID = "SK" + hex32 },
		"api_key must be SK":                func(o *sender.TwilioOptions) { o.APIKey = "hunter2" },
		"api_key and api_secret":            func(o *sender.TwilioOptions) { o.APISecret = "hunter2" },
		"auth_token is needed":              func(o *sender.TwilioOptions) { o.AuthToken = "" },
		"from or messaging_service":         func(o *sender.TwilioOptions) { o.From = "" },
		"exclude each other":                func(o *sender.TwilioOptions) { o.MessagingService = "MG" + hex32 },
		"messaging_service must be MG":      func(o *sender.TwilioOptions) { o.MessagingService = "MG12" },
		"whatsapp_from and":                 func(o *sender.TwilioOptions) { o.WhatsAppFrom = "+14155238886" },
		"endpoint must be https:// and a h": func(o *sender.TwilioOptions) { o.Endpoint = "https://u:hunter2@api.twilio.com" },
	} {
		o := twilioOptions("")
		change(&o)
		_, err := sender.NewTwilio(o)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
		discreet(t, err)
	}
	if s := twilio(t, twilioOptions("")); s.Name() != "twilio" || s.Limit() != 0 {
		t.Errorf("got %s, %v", s.Name(), s.Limit())
	}
}
