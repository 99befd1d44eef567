package sender

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Twilio signs with it; HMAC does not rest on collisions
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Reporter is what a Sender may be as well: one whose provider says later, in a
// request of its own, what became of a message.
type Reporter interface {
	// ReportTo gives the public URL for such requests, before the first Send.
	ReportTo(address string)
	// ReadReport reads such a request to that URL; query is what stood behind
	// it, and form the body's. ok is false unless the provider has signed it.
	ReadReport(query string, header http.Header, form url.Values) (report auth.Report, ok bool)
}

// ReportTo has Twilio report on messages. Only the auth token verifies reports,
// so without it there are none.
func (t *Twilio) ReportTo(address string) {
	if t.o.AuthToken != "" {
		t.reports = address
	}
}

// reportTo is the URL for one message. Its id stands there, since Twilio knows
// messages by ids of its own: so any node can read the report.
func (t *Twilio) reportTo(m auth.Message) string { return t.reports + "?id=" + url.QueryEscape(m.ID) }

// ReadReport verifies and reads a status callback.
func (t *Twilio) ReadReport(query string, header http.Header, form url.Values) (report auth.Report, ok bool) {
	if t.reports == "" {
		return report, false
	}
	address := t.reports
	if query != "" {
		address += "?" + query
	}
	want := twilioSignature(t.o.AuthToken, address, form)
	if !hmac.Equal([]byte(want), []byte(header.Get("X-Twilio-Signature"))) {
		return report, false
	}
	values, _ := url.ParseQuery(query) // signed, so it is ours
	report.MessageID = values.Get("id")
	switch form.Get("MessageStatus") + form.Get("CallStatus") { // of one, the other is absent
	case "delivered", "read", "completed":
		report.Outcome = auth.DeliverySent
	case "undelivered", "failed", "canceled", "busy", "no-answer":
		report.Outcome = auth.DeliveryFailed
		report.Reason = "twilio: " + form.Get("MessageStatus") + form.Get("CallStatus")
		if code := form.Get("ErrorCode"); code != "" && len(code) <= 5 {
			report.Reason += ", error " + code
		}
	}
	return report, true
}

// twilioSignature is the HMAC of the URL and, in the order of their names, of
// all names and values of the form.
func twilioSignature(token, address string, form url.Values) string {
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(address)) // never fails
	for _, name := range slices.Sorted(maps.Keys(form)) {
		mac.Write([]byte(name + strings.Join(form[name], "")))
	}
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
