package sender

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Twilio hands messages to Twilio's API: text messages, calls that speak the
// code, and WhatsApp. It is plain HTTP: three forms are not worth an SDK that
// brings clients for all of Twilio's products.
type Twilio struct {
	o       TwilioOptions
	client  *http.Client
	reports string // where status callbacks go; empty: nowhere
}

// TwilioOptions are what a Twilio is made of.
type TwilioOptions struct {
	AccountSID string // AC…
	// One of the two signs in: the account's auth token, or an API key. Beside
	// an API key the auth token only verifies status callbacks.
	AuthToken         string
	APIKey, APISecret string // SK… and its secret

	// Text messages come from one of the two; without both there are none.
	From             string // a number, a short code or a name
	MessagingService string // MG…, a pool of numbers
	VoiceFrom        string // calls come from this number; empty: no calls
	WhatsAppFrom     string // empty: no WhatsApp
	WhatsAppContent  string // HX…, the approved template; its one variable is the code

	Endpoint string           // of another edge or region; empty: https://api.twilio.com
	Timeout  time.Duration    // of one attempt; 0: the queue's
	Now      func() time.Time // nil: time.Now
}

// sids are the forms of Twilio's identifiers: a swapped pair is found before the
// first message.
func (o TwilioOptions) check() error {
	for _, sid := range []struct{ key, prefix, value string }{
		{"account_sid", "AC", o.AccountSID}, {"api_key", "SK", o.APIKey},
		{"messaging_service", "MG", o.MessagingService}, {"whatsapp_content", "HX", o.WhatsAppContent},
	} {
		hex, ok := strings.CutPrefix(sid.value, sid.prefix)
		if sid.value != "" && (!ok || len(hex) != 32 || strings.Trim(hex, "0123456789abcdefABCDEF") != "") {
			return fmt.Errorf("%s must be %s and 32 hexadecimal digits, as in Twilio's console", sid.key, sid.prefix)
		}
	}
	switch {
	case o.AccountSID == "":
		return errors.New("account_sid is needed")
	case (o.APIKey == "") != (o.APISecret == ""):
		return errors.New("api_key and api_secret belong together")
	case o.AuthToken == "" && o.APIKey == "":
		return errors.New("auth_token is needed, or api_key and api_secret")
	case o.From != "" && o.MessagingService != "":
		return errors.New("from and messaging_service exclude each other")
	case (o.WhatsAppFrom == "") != (o.WhatsAppContent == ""):
		return errors.New("whatsapp_from and whatsapp_content belong together: WhatsApp takes a code in an approved template alone")
	case o.From+o.MessagingService+o.VoiceFrom+o.WhatsAppFrom == "":
		return errors.New("from or messaging_service is needed")
	}
	return nil
}

// NewTwilio checks the options. Nothing is sent yet.
func NewTwilio(o TwilioOptions) (*Twilio, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	var err error
	if o.Endpoint, err = endpoint(o.Endpoint, "https://api.twilio.com"); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Twilio{o: o, client: newClient()}, nil
}

// Name returns the kind.
func (*Twilio) Name() string { return "twilio" }

// Limit returns the time one attempt may take.
func (t *Twilio) Limit() time.Duration { return t.o.Timeout }

// TakesChannel reports whether there is somebody to send from.
func (t *Twilio) TakesChannel(channel string) bool {
	switch channel {
	case "sms":
		return t.o.From+t.o.MessagingService != ""
	case "voice":
		return t.o.VoiceFrom != ""
	case "whatsapp":
		return t.o.WhatsAppFrom != ""
	}
	return false
}

// Close drops idle connections.
func (t *Twilio) Close() error {
	t.client.CloseIdleConnections()
	return nil
}

// Send creates a message or a call. Twilio knows no idempotency key, so nothing
// is repeated here.
func (t *Twilio) Send(ctx context.Context, m auth.Message) error {
	resource, form := t.form(m)
	address := t.o.Endpoint + "/2010-04-01/Accounts/" + t.o.AccountSID + "/" + resource + ".json"
	request, err := postForm(ctx, address, form)
	if err != nil {
		return err
	}
	if t.o.APIKey != "" {
		request.SetBasicAuth(t.o.APIKey, t.o.APISecret)
	} else {
		request.SetBasicAuth(t.o.AccountSID, t.o.AuthToken)
	}
	status, body, err := exchange(t.client, request)
	if err != nil {
		return err
	}
	return twilioVerdict(status, body)
}

// form is what the API takes for a message of its channel.
func (t *Twilio) form(m auth.Message) (resource string, form url.Values) {
	form = url.Values{"To": {m.To}}
	if t.reports != "" {
		form.Set("StatusCallback", t.reportTo(m))
	}
	switch m.Channel {
	case "voice":
		form.Set("From", t.o.VoiceFrom)
		form.Set("Twiml", twiml(m))
		return "Calls", form
	case "whatsapp":
		form.Set("To", "whatsapp:"+m.To)
		form.Set("From", "whatsapp:"+t.o.WhatsAppFrom)
		form.Set("ContentSid", t.o.WhatsAppContent)
		form.Set("ContentVariables", `{"1":"`+m.Code+`"}`)
	default:
		if t.o.MessagingService != "" {
			form.Set("MessagingServiceSid", t.o.MessagingService)
		} else {
			form.Set("From", t.o.From)
		}
		form.Set("Body", m.Text)
	}
	if !m.ExpiresAt.IsZero() { // a code that waits in Twilio's queue until it is dead helps nobody
		left := int(m.ExpiresAt.Sub(t.o.Now()).Seconds())
		form.Set("ValidityPeriod", strconv.Itoa(max(1, left)))
	}
	return "Messages", form
}

// twiml says what the call speaks: the text without its last line, twice, and
// the code digit by digit.
func twiml(m auth.Message) string {
	text, _, _ := strings.Cut(m.Text, "\n")
	text = strings.Replace(text, m.Code, strings.Join(strings.Split(m.Code, ""), ", "), 1)
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(text)) // never fails
	say := "<Say>" + escaped.String() + "</Say>"
	if voice := voiceOf(m.Language); voice != "" {
		say = `<Say language="` + voice + `">` + escaped.String() + "</Say>"
	}
	return "<Response>" + say + `<Pause length="1"/>` + say + "</Response>"
}

// twilioVoices are Twilio's names of the languages that it speaks. Another
// language is left to the voice that the account has as its default.
var twilioVoices = map[string]string{
	"da": "da-DK", "de": "de-DE", "en": "en-US", "es": "es-ES", "fi": "fi-FI", "fr": "fr-FR", "it": "it-IT",
	"nb": "nb-NO", "nl": "nl-NL", "pl": "pl-PL", "pt": "pt-PT", "sv": "sv-SE",
	"en-GB": "en-GB", "es-MX": "es-MX", "fr-CA": "fr-CA", "pt-BR": "pt-BR",
}

func voiceOf(tag string) string {
	base, _, _ := strings.Cut(tag, "-")
	return cmp.Or(twilioVoices[tag], twilioVoices[base])
}

// Error codes of Twilio (www.twilio.com/docs/api/errors). Those of a number say
// nothing about the account; those of the account would fail for every number.
var (
	twilioNumber = []int{
		21211, 21214, 21217, // no valid number
		21215, 21216, 21408, // its country is not enabled
		21606, 21612, // this sender does not reach it
		21608, 21610, // not verified (trial account), has opted out
		21614, 21635, // gets no text messages
		63003, 63024, // not on WhatsApp
	}
	twilioAccount = []int{
		21210, 21212, 21213, 21603, 21659, 21660, 21661, 63007, // from
		21611,                             // its queue is full
		21701, 21702, 21703, 21704, 21705, // messaging service
	}
)

func twilioVerdict(status int, body []byte) error {
	var answer struct {
		SID    string `json:"sid"`
		Status any    `json:"status"` // of the message, or of an error in numbers
		Code   int    `json:"code"`
	}
	malformed := json.Unmarshal(body, &answer) != nil
	switch {
	case status >= 200 && status <= 299:
		if malformed || answer.SID == "" {
			return fmt.Errorf("answered %d without a sid", status)
		}
		if answer.Status == "failed" || answer.Status == "undelivered" || answer.Status == "canceled" {
			return fmt.Errorf("took the message and gave it up: %w", ErrRefused)
		}
		return nil
	case malformed || answer.Code == 0 || status >= 500:
		return fmt.Errorf("answered %d", status)
	case slices.Contains(twilioAccount, answer.Code) || answer.Code < 21000:
	case status == http.StatusBadRequest || slices.Contains(twilioNumber, answer.Code):
		return fmt.Errorf("answered %d, error %d: %w", status, answer.Code, ErrRefused)
	}
	return fmt.Errorf("answered %d, error %d", status, answer.Code)
}
