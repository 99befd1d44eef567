package sender_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// The example, with its token and its signature, of
// https://www.twilio.com/docs/usage/webhooks/webhooks-security#explore-the-algorithm-yourself.
func TestTwilioSignatureOfTheDocumentation(t *testing.T) {
	o := twilioOptions("")
	o.AuthToken = "12345"
	s := twilio(t, o)
	s.ReportTo("https://mycompany.com/myapp.php")
	header := http.Header{"X-Twilio-Signature": {"0/KCTR6DLpKmkAf8muzZqo1nDgQ="}}
	form := url.Values{
		"Digits": {"1234"}, "To": {"+18005551212"}, "From": {"+12349013030"}, "Caller": {"+12349013030"}, "CallSid": {"CA1234567890ABCDE"},
	}
	if report, ok := s.ReadReport("foo=1&bar=2", header, form); !ok || report != (auth.Report{}) {
		t.Errorf("got %+v, %v", report, ok)
	}
	form.Set("Digits", "1235")
	if _, ok := s.ReadReport("foo=1&bar=2", header, form); ok {
		t.Error("a changed form is taken")
	}
}

const reports = "https://a.example/api/v1/auth/status/twilio"

// signed signs a form as Twilio does.
func signed(token, address string, form url.Values) http.Header {
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(address))
	for _, name := range []string{"CallStatus", "ErrorCode", "MessageSid", "MessageStatus"} {
		if form.Has(name) {
			mac.Write([]byte(name + form.Get(name)))
		}
	}
	return http.Header{"X-Twilio-Signature": {base64.StdEncoding.EncodeToString(mac.Sum(nil))}}
}

// The values are those of https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks and
// https://www.twilio.com/docs/voice/api/call-resource#statuscallback.
func TestTwilioReports(t *testing.T) {
	const query = "id=c1.1"
	for _, row := range []struct {
		name, message, call, code string
		want                      auth.Report
	}{
		{"queued decides nothing", "queued", "", "", auth.Report{MessageID: "c1.1"}},
		{"sent decides nothing", "sent", "", "", auth.Report{MessageID: "c1.1"}},
		{"delivered", "delivered", "", "", auth.Report{MessageID: "c1.1", Outcome: auth.DeliverySent}},
		{"read on WhatsApp", "read", "", "", auth.Report{MessageID: "c1.1", Outcome: auth.DeliverySent}},
		{"undelivered", "undelivered", "", "30003", auth.Report{MessageID: "c1.1", Outcome: auth.DeliveryFailed, Reason: "twilio: undelivered, error 30003"}},
		{"failed", "failed", "", "", auth.Report{MessageID: "c1.1", Outcome: auth.DeliveryFailed, Reason: "twilio: failed"}},
		{"a call was answered", "", "completed", "", auth.Report{MessageID: "c1.1", Outcome: auth.DeliverySent}},
		{"a call was not answered", "", "no-answer", "", auth.Report{MessageID: "c1.1", Outcome: auth.DeliveryFailed, Reason: "twilio: no-answer"}},
		{"a word that nobody knows", "teleported", "", "", auth.Report{MessageID: "c1.1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := twilio(t, twilioOptions(""))
			s.ReportTo(reports)
			form := url.Values{"MessageSid": {"SM1"}}
			for name, value := range map[string]string{"MessageStatus": row.message, "CallStatus": row.call, "ErrorCode": row.code} {
				if value != "" {
					form.Set(name, value)
				}
			}
			header := signed("hunter2", reports+"?"+query, form)
			if got, ok := s.ReadReport(query, header, form); !ok || got != row.want {
				t.Errorf("got %+v, %v; want %+v", got, ok, row.want)
			}
			// Attacks: another's message, another's token, no signature.
			if _, ok := s.ReadReport("id=c2.1", header, form); ok {
				t.Error("the signature of another URL is taken")
			}
			if _, ok := s.ReadReport(query, signed("12345", reports+"?"+query, form), form); ok {
				t.Error("the signature of another token is taken")
			}
			if _, ok := s.ReadReport(query, http.Header{}, form); ok {
				t.Error("a report without a signature is taken")
			}
		})
	}
}

func TestTwilioAsksForReports(t *testing.T) {
	for _, row := range []struct {
		name, address string
		change        func(*sender.TwilioOptions)
		want          string
	}{
		{"with an address", reports, func(*sender.TwilioOptions) {}, reports + "?id=c1.1"},
		{"without an address", "", func(*sender.TwilioOptions) {}, ""},
		{"without the token that verifies", reports, func(o *sender.TwilioOptions) {
			o.AuthToken, o.APIKey, o.APISecret = "", "SK"+hex32, "hunter3"
		}, ""},
	} {
		server, got := provider(t, http.StatusCreated, twilioCreated)
		o := twilioOptions(server.URL)
		row.change(&o)
		s := twilio(t, o)
		s.ReportTo(row.address)
		if err := s.Send(t.Context(), message()); err != nil || (*got)[0].form.Get("StatusCallback") != row.want {
			t.Errorf("%s: %v, %v; want %q", row.name, err, (*got)[0].form, row.want)
		}
		if row.want == "" {
			if _, ok := s.ReadReport("", signed("", "", nil), nil); ok {
				t.Errorf("%s: a report is taken", row.name)
			}
		}
	}
}
