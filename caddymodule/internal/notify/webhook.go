package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// WebhookOptions are what a Webhook is made of.
type WebhookOptions struct {
	URL  string                                     // http or https; user:password@ becomes basic authentication
	Sign func(timestamp string, body []byte) string // the X-Sidegate-Signature; nil: nothing is signed
	Now  func() time.Time                           // nil: time.Now
}

// Webhook posts notices to an URL, signed.
type Webhook struct {
	WebhookOptions
	host   string
	client *http.Client
}

const dialTimeout = 5 * time.Second

// NewWebhook checks the URL.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" {
		return nil, errors.New("webhook URL must begin with https:// or http:// and name a host") // the cause would repeat it
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	transport := &http.Transport{
		Proxy:                  nil, // never from the environment: events go where the configuration says
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConnsPerHost:    workers,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 16 << 10,
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Webhook{WebhookOptions: o, host: u.Hostname(), client: &http.Client{Transport: transport, CheckRedirect: stay}}, nil
}

// Host is the receiver's name. The whole URL may hold a secret.
func (w *Webhook) Host() string { return w.host }

// Close drops idle connections.
func (w *Webhook) Close() error {
	w.client.CloseIdleConnections()
	return nil
}

// Post delivers one notice. Any 2xx is taken; 400 and 422 refuse this one; all
// else, redirects too, is a failure. Errors never hold the URL.
func (w *Webhook) Post(ctx context.Context, id string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("making the request")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Sidegate")
	request.Header.Set("Idempotency-Key", id)
	if w.Sign != nil {
		timestamp := strconv.FormatInt(w.Now().Unix(), 10)
		request.Header.Set("X-Sidegate-Timestamp", timestamp)
		request.Header.Set("X-Sidegate-Signature", w.Sign(timestamp, body))
	}
	response, err := w.client.Do(request)
	if err != nil {
		return tellable(err)
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 4<<10) // only to keep the connection
	switch status := response.StatusCode; {
	case status >= 200 && status <= 299:
		return nil
	case status == http.StatusBadRequest || status == http.StatusUnprocessableEntity:
		return fmt.Errorf("answered %d: %w", status, ErrRefused)
	default:
		return fmt.Errorf("answered %d", status)
	}
}

// tellable keeps of a client's error what may be logged; the rest may quote the
// URL.
func tellable(err error) error {
	var dial *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.As(err, &dial) && dial.Op == "dial":
		return dial
	}
	return errors.New("the connection broke, or its answer was not HTTP")
}
