// Package directory asks somebody else who a phone number is.
package directory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const (
	defaultTimeout = 5 * time.Second
	maxAnswer      = 64 << 10 // bytes; an account is far smaller
)

// Options are what a Webhook is made of.
type Options struct {
	URL     string                                     // http or https
	Sign    func(timestamp string, body []byte) string // the X-Sidegate-Signature; nil: nothing is signed
	Timeout time.Duration                              // of one question; zero: 5 s
	Now     func() time.Time                           // nil: time.Now
}

// Webhook asks an URL of the app, whose own table of users stays the truth. It
// implements auth.Directory.
type Webhook struct {
	Options
	client *http.Client
}

// New checks the URL.
func New(o Options) (*Webhook, error) {
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" {
		return nil, errors.New("directory URL must begin with https:// or http:// and name a host") // the cause would repeat it
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	transport := &http.Transport{
		Proxy:                  nil, // never from the environment: numbers go where the configuration says
		DialContext:            (&net.Dialer{Timeout: defaultTimeout}).DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    defaultTimeout,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 16 << 10,
	}
	// A redirect is an answer like any other, and no account.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Webhook{Options: o, client: &http.Client{Transport: transport, CheckRedirect: stay}}, nil
}

// Close drops idle connections.
func (w *Webhook) Close() error {
	w.client.CloseIdleConnections()
	return nil
}

// Resolve implements auth.Directory. 404 (unknown) and 403 (banned) refuse the
// account; every other answer but an account means that the directory cannot
// answer now. Errors never hold the number or the URL.
func (w *Webhook) Resolve(ctx context.Context, phone, challengeID string) (auth.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	request, err := w.question(ctx, phone, challengeID)
	if err != nil {
		return auth.Account{}, err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return auth.Account{}, tellable(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return auth.Account{}, tellable(err)
	}
	switch response.StatusCode {
	case http.StatusOK:
		return account(body)
	case http.StatusNotFound, http.StatusForbidden:
		return auth.Account{}, auth.Refuse(auth.CodeAccountDisabled)
	}
	return auth.Account{}, fmt.Errorf("the directory answered %d", response.StatusCode)
}

func (w *Webhook) question(ctx context.Context, phone, challengeID string) (*http.Request, error) {
	body, err := json.Marshal(struct {
		Phone       string `json:"phone"`
		ChallengeID string `json:"challenge_id"`
	}{phone, challengeID})
	if err != nil {
		return nil, errors.New("encoding the question")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("making the request")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Sidegate")
	// One code, one answer: the question may be asked again when a connection breaks.
	request.Header.Set("Idempotency-Key", challengeID)
	if w.Sign != nil {
		timestamp := strconv.FormatInt(w.Now().Unix(), 10)
		request.Header.Set("X-Sidegate-Timestamp", timestamp)
		request.Header.Set("X-Sidegate-Signature", w.Sign(timestamp, body))
	}
	return request, nil
}

// account reads the answer. The domain checks what the values may be.
func account(body []byte) (auth.Account, error) {
	var a struct {
		UserID uint64   `json:"auth_user_id"`
		Type   string   `json:"user_type"`
		Roles  []string `json:"user_roles"`
	}
	if len(body) > maxAnswer || json.Unmarshal(body, &a) != nil {
		return auth.Account{}, errors.New("the directory's answer is not an account in JSON")
	}
	if a.UserID == 0 || a.Type == "" {
		return auth.Account{}, errors.New("the directory's answer lacks auth_user_id or user_type")
	}
	return auth.Account{UserID: a.UserID, Type: a.Type, Roles: a.Roles}, nil
}

// tellable keeps of a client's error what may be logged; the rest may quote the
// URL, which may hold a secret.
func tellable(err error) error {
	var dial *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the directory did not answer in time")
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("reaching the directory: %w", dial)
	}
	return errors.New("the connection to the directory broke, or its answer was not HTTP")
}
