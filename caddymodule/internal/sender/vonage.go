package sender

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Vonage hands text messages to Vonage's SMS API, signed: the request proves
// that nobody changed it, and the secret does not travel. It is plain HTTP, one
// form; Vonage's library for Go adds nothing to that.
type Vonage struct {
	o      VonageOptions
	client *http.Client
}

// VonageOptions are what a Vonage is made of.
type VonageOptions struct {
	APIKey          string
	SignatureSecret string           // of the method SHA-256 HMAC, which the account must be set to
	From            string           // a number without plus, or a name of up to 11 letters
	Endpoint        string           // empty: https://rest.nexmo.com
	Timeout         time.Duration    // of one attempt; 0: the queue's
	Now             func() time.Time // nil: time.Now
}

// NewVonage checks the options. Nothing is sent yet.
func NewVonage(o VonageOptions) (*Vonage, error) {
	switch {
	case o.APIKey == "":
		return nil, errors.New("api_key is needed")
	case o.SignatureSecret == "":
		return nil, errors.New("signature_secret is needed")
	case o.From == "":
		return nil, errors.New("from is needed")
	}
	o.From = strings.TrimPrefix(o.From, "+")
	var err error
	if o.Endpoint, err = endpoint(o.Endpoint, "https://rest.nexmo.com"); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Vonage{o: o, client: newClient()}, nil
}

// Name returns the kind.
func (*Vonage) Name() string { return "vonage" }

// Limit returns the time one attempt may take.
func (v *Vonage) Limit() time.Duration { return v.o.Timeout }

// Close drops idle connections.
func (v *Vonage) Close() error {
	v.client.CloseIdleConnections()
	return nil
}

// minTTL is the shortest life that the API gives a message in its queue.
const minTTL = 20 * time.Second

// Send creates a message. Vonage knows no idempotency key, so nothing is
// repeated here.
func (v *Vonage) Send(ctx context.Context, m auth.Message) error {
	form := url.Values{
		"api_key": {v.o.APIKey}, "from": {v.o.From}, "to": {strings.TrimPrefix(m.To, "+")},
		"type": {"text"}, "text": {m.Text}, "client-ref": {m.ID},
		"timestamp": {strconv.FormatInt(v.o.Now().Unix(), 10)},
	}
	if !m.ExpiresAt.IsZero() { // a code that waits in a queue until it is dead helps nobody
		left := max(minTTL, m.ExpiresAt.Sub(v.o.Now()))
		form.Set("ttl", strconv.FormatInt(left.Milliseconds(), 10))
	}
	form.Set("sig", vonageSignature(form, v.o.SignatureSecret))
	request, err := postForm(ctx, v.o.Endpoint+"/sms/json", form)
	if err != nil {
		return err
	}
	status, body, err := exchange(v.client, request)
	if err != nil {
		return err
	}
	return vonageVerdict(status, body)
}

// vonageSignature is the HMAC of the parameters in the order of their names,
// each as &name=value; what would look like another parameter in a value is
// replaced.
func vonageSignature(form url.Values, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	plain := strings.NewReplacer("&", "_", "=", "_")
	for _, name := range slices.Sorted(maps.Keys(form)) {
		mac.Write([]byte("&" + name + "=" + plain.Replace(form.Get(name)))) // never fails
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// vonageNumber are the statuses that speak of the one message
// (developer.vonage.com/api-errors/sms): no valid number, not routed, barred,
// a sender that its country does not take, not on the list of a trial account,
// no longer in use.
var vonageNumber = []string{"3", "6", "7", "15", "29", "33"}

// vonageVerdict reads an answer: faults have status 200 too.
func vonageVerdict(status int, body []byte) error {
	var answer struct {
		Messages []struct {
			Status string `json:"status"`
		} `json:"messages"`
	}
	if status != 200 {
		return fmt.Errorf("answered %d", status)
	}
	if json.Unmarshal(body, &answer) != nil || len(answer.Messages) == 0 {
		return errors.New("answered 200 without a message")
	}
	for _, m := range answer.Messages { // one, unless the text was too long
		n, err := strconv.Atoi(m.Status)
		switch {
		case err != nil:
			return errors.New("answered 200 without a status")
		case slices.Contains(vonageNumber, m.Status):
			return fmt.Errorf("answered status %d: %w", n, ErrRefused)
		case n != 0:
			return fmt.Errorf("answered status %d", n)
		}
	}
	return nil
}
