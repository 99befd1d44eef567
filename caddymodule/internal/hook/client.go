// Package hook asks services of the operator's own: who a phone number is,
// whether a code may go out, and what becomes of a dormant account.
package hook

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
)

const (
	defaultTimeout = 5 * time.Second
	maxAnswer      = 64 << 10 // bytes; an answer is far smaller
)

// Options are what a hook is made of.
type Options struct {
	URL     string                                     // http or https
	Sign    func(timestamp string, body []byte) string // the X-Sidegate-Signature; nil: nothing is signed
	Timeout time.Duration                              // of one question; zero: 5 s
	Now     func() time.Time                           // nil: time.Now
}

// client posts questions to one URL. Its errors never hold the number or the
// URL, which may hold a secret.
type client struct {
	Options
	asked string // whom it asks, for errors
	host  string
	http  *http.Client
}

func newClient(asked string, o Options) (*client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" {
		return nil, fmt.Errorf("%s URL must begin with https:// or http:// and name a host", asked) // the cause would repeat it
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
	// A redirect is an answer like any other, and says nothing.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{Options: o, asked: asked, host: u.Hostname(), http: &http.Client{Transport: transport, CheckRedirect: stay}}, nil
}

// Close drops idle connections.
func (c *client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// ask posts a question and reads the answer. Questions with the same key have
// the same answer: one may be asked again when a connection breaks.
func (c *client) ask(ctx context.Context, key string, question any) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := c.request(ctx, key, question)
	if err != nil {
		return 0, nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, nil, c.tellable(err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, c.tellable(err)
	}
	if len(answer) > maxAnswer {
		return 0, nil, fmt.Errorf("the %s's answer is too long", c.asked)
	}
	return response.StatusCode, answer, nil
}

func (c *client) request(ctx context.Context, key string, question any) (*http.Request, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, errors.New("encoding the question")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("making the request")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Sidegate")
	request.Header.Set("Idempotency-Key", key)
	if c.Sign != nil {
		timestamp := strconv.FormatInt(c.Now().Unix(), 10)
		request.Header.Set("X-Sidegate-Timestamp", timestamp)
		request.Header.Set("X-Sidegate-Signature", c.Sign(timestamp, body))
	}
	return request, nil
}

// tellable keeps of an error what may be logged; the rest may quote the URL.
func (c *client) tellable(err error) error {
	var dial *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the %s did not answer in time", c.asked)
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("reaching the %s: %w", c.asked, dial)
	}
	return fmt.Errorf("the connection to the %s broke, or its answer was not HTTP", c.asked)
}

// unusable is what any answer is that is none of the agreed ones.
func (c *client) unusable(status int) error { return fmt.Errorf("the %s answered %d", c.asked, status) }
