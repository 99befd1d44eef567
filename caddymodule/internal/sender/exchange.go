package sender

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	maxIgnored = 4 << 10  // read of a body that says nothing, only to keep the connection
	maxAnswer  = 64 << 10 // read of a body that says something
	maxHeaders = 16 << 10 // of an answer
)

// newClient makes the HTTP client of one sender. It sends each message once:
// net/http repeats a request whose connection broke only when it carries an
// Idempotency-Key, or when nothing of it was written.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // never from the environment: codes go where the configuration says
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxIdleConnsPerHost:    8, // one for each worker
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: maxHeaders,
		},
		CheckRedirect: stay,
	}
}

// stay makes a redirect an ordinary answer: whoever can move a URL must not
// learn the codes.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// endpoint checks the base URL of a provider's API, or takes the usual one, and
// returns it without a slash at its end.
func endpoint(text, usual string) (string, error) {
	text = cmp.Or(text, usual)
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.User != nil || u.RawQuery+u.Fragment != "" {
		return "", errors.New("endpoint must be https:// and a host")
	}
	return strings.TrimSuffix(text, "/"), nil
}

// postForm makes the request by which most providers take a message.
func postForm(ctx context.Context, address string, form url.Values) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("making the request failed") // the cause would repeat the URL
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "Sidegate")
	return request, nil
}

// exchange makes one request and reads its answer, up to maxAnswer.
func exchange(client *http.Client, request *http.Request) (status int, body []byte, err error) {
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, tellable(err)
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return response.StatusCode, nil, tellable(err)
	}
	return response.StatusCode, body, nil
}

// tellable keeps of a client's error what may be logged. The rest may quote the
// URL, or an answer that repeats the code.
func tellable(err error) error {
	var refused *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("given up: %w", context.Canceled)
	case errors.As(err, &refused) && refused.Op == "dial":
		return refused
	case errors.As(err, &certificate):
		return certificate
	}
	return errors.New("the connection broke, or its answer was not HTTP")
}
