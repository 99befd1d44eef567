package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// client speaks to the admin endpoint of a running Caddy. Caddy's own client
// cannot serve here: it sends an Origin, as browsers do, and those may change
// nothing.
type client struct {
	http   *http.Client
	origin string
	by     string
}

// answerTimeout bounds one answer; those of a healthy server take milliseconds,
// and the slowest, doctor's, a few seconds.
const answerTimeout = time.Minute

// newClient finds the endpoint as Caddy's own commands do.
func newClient(cmd *cobra.Command) (*client, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(flag(cmd, "address"), nil, flag(cmd, "config"), flag(cmd, "adapter"))
	if err != nil {
		return nil, usageError{err}
	}
	parsed, err := caddy.ParseNetworkAddress(address)
	known := parsed.IsUnixNetwork() || strings.HasPrefix(parsed.Network, "tcp")
	if err != nil || parsed.PortRangeSize() > 1 || !known {
		return nil, usageError{fmt.Errorf("%q is no address of an admin endpoint; use HOST:PORT or unix//PATH", address)}
	}
	c := &client{origin: "http://" + parsed.JoinHostPort(0), by: flag(cmd, "by")}
	if parsed.IsUnixNetwork() {
		parsed.Host, _, _ = strings.Cut(parsed.Host, "|") // the socket's mode
		c.origin = "http://localhost"
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, parsed.Network, parsed.JoinHostPort(0))
	}
	c.http = &http.Client{
		Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// ask makes a command's one request; see do.
func ask(cmd *cobra.Command, method, path string, in any) ([]byte, error) {
	c, err := newClient(cmd)
	if err != nil {
		return nil, err
	}
	return c.do(cmd.Context(), method, path, in)
}

// do makes one request; in becomes the JSON body unless it is nil. It returns
// the answer's body.
func (c *client) do(ctx context.Context, method, path string, in any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var body io.Reader
	kind := ""
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encoding request: %w", err)
		}
		body, kind = bytes.NewReader(text), "application/json"
	}
	answer, err := c.stream(ctx, method, path, kind, body)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	text, err := io.ReadAll(answer)
	if err != nil {
		return nil, unreachable{err}
	}
	return text, nil
}

// stream makes one request, with a body of this kind, and returns the answer as
// it comes. It takes as long as it takes.
func (c *client) stream(ctx context.Context, method, path, kind string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.origin+"/sidegate/"+path, body)
	if err != nil {
		return nil, usageError{err}
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("Referer", c.origin) // satisfies enforce_origin, and is no Origin
	if c.by != "" {
		req.Header.Set("Sidegate-By", c.by)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable{err}
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, unreachable{err}
	}
	return nil, refusalOf(resp, text)
}

// refusal is what the server says instead of doing it.
type refusal struct{ text string }

func (r refusal) Error() string { return r.text }

func refusalOf(resp *http.Response, body []byte) error {
	var problem struct{ Detail, Code string }
	if resp.Header.Get("Sidegate-Error") != "" && json.Unmarshal(body, &problem) == nil {
		return refusal{problem.Detail + " (" + problem.Code + ")"}
	}
	var of struct{ Error string } // Caddy's own
	if json.Unmarshal(body, &of) == nil && of.Error != "" {
		return refusal{fmt.Sprintf("the admin endpoint says: %s (status %d)", of.Error, resp.StatusCode)}
	}
	return refusal{fmt.Sprintf("the server at this address does not know sidegate (status %d)", resp.StatusCode)}
}

// unreachable says that there was no answer.
type unreachable struct{ err error }

func (u unreachable) Error() string {
	return fmt.Sprintf("no answer from Caddy's admin endpoint: %v; is it running, and is --address or --config right?", u.err)
}

func (u unreachable) Unwrap() error { return u.err }

// usageError says that the command line is wrong.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }

func (u usageError) Unwrap() error { return u.err }

// The exit codes.
const (
	exitRefused     = 1
	exitUsage       = 2
	exitUnreachable = 3
)

func exitCode(err error) int {
	switch {
	case errors.As(err, new(usageError)):
		return exitUsage
	case errors.As(err, new(unreachable)):
		return exitUnreachable
	}
	return exitRefused
}
