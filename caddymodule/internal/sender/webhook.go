package sender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Webhook posts each message to a URL, signed. Any 2xx answer counts as
// delivered; 400 and 422 refuse the message alone; all else is a failure.
type Webhook struct {
	url     string
	host    string // for the name: the URL itself may hold credentials
	secret  []byte
	timeout time.Duration
	client  *http.Client
	now     func() time.Time
}

// WebhookOptions are what a Webhook is made of.
type WebhookOptions struct {
	URL     string           // http or https; user:password@ becomes basic authentication
	Secret  []byte           // signs; empty: the two signature headers are absent
	Timeout time.Duration    // of one attempt; 0: the queue's
	Now     func() time.Time // nil: time.Now
}

// NewWebhook checks the URL. Nothing is sent yet.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("webhook URL is malformed") // the cause would repeat the URL
	}
	if (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" {
		return nil, errors.New("webhook URL must begin with https:// or http:// and name a host")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Webhook{
		url: o.URL, host: u.Hostname(), secret: o.Secret, timeout: o.Timeout, now: o.Now,
		client: newClient(),
	}, nil
}

// Name returns the kind and the host.
func (w *Webhook) Name() string { return "webhook " + w.host }

// Limit returns the time one attempt may take.
func (w *Webhook) Limit() time.Duration { return w.timeout }

// Close drops idle connections.
func (w *Webhook) Close() error {
	w.client.CloseIdleConnections()
	return nil
}

// Send posts the message.
func (w *Webhook) Send(ctx context.Context, m auth.Message) error {
	body, err := encode(m)
	if err != nil {
		return fmt.Errorf("encoding the message: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("making the request failed")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Sidegate")
	request.Header.Set("Idempotency-Key", m.ID)
	if len(w.secret) > 0 {
		timestamp := strconv.FormatInt(w.now().Unix(), 10)
		request.Header.Set("X-Sidegate-Timestamp", timestamp)
		request.Header.Set("X-Sidegate-Signature", Signature(w.secret, timestamp, body))
	}
	response, err := w.client.Do(request)
	if err != nil {
		return tellable(err)
	}
	defer response.Body.Close()
	// Not to be read at all, but an unread body costs the connection.
	_, _ = io.CopyN(io.Discard, response.Body, maxIgnored)
	return verdict(response.StatusCode)
}

func verdict(status int) error {
	switch {
	case status >= 200 && status <= 299:
		return nil
	case status == http.StatusBadRequest || status == http.StatusUnprocessableEntity:
		return fmt.Errorf("answered %d: %w", status, ErrRefused)
	}
	return fmt.Errorf("answered %d", status)
}
