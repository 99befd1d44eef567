package caddymodule_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// office is a site whose admin endpoint is open to the test.
type office struct {
	*site
	address string // as --address has it
	door    *http.Client
	host    string
}

// newOffice prepares a site with its admin endpoint at an address: a path is a
// unix socket.
func newOffice(t *testing.T, address string) *office {
	o := &office{site: newSite(t), address: address, host: address}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	if strings.HasPrefix(address, "/") {
		o.address, o.host = "unix/"+address, "localhost"
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", address)
		}
	}
	o.door = &http.Client{Transport: &http.Transport{DialContext: dial}}
	t.Cleanup(o.door.CloseIdleConnections)
	return o
}

// socket is a short path: the kernel takes 107 bytes.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "admin")
}

// config is the site's, with the endpoint on.
func (o *office) config(global, gate string) string {
	return strings.Replace(o.site.config(global, gate, ""), "admin off", "admin "+o.address, 1)
}

func startOffice(t *testing.T, address, global, gate string) *office {
	t.Helper()
	o := newOffice(t, address)
	o.load(o.config(global, gate))
	t.Cleanup(func() { _ = caddy.Stop() })
	return o
}

// ask makes a request to the admin endpoint. Headers come in pairs.
func (o *office) ask(method, path, body string, headers ...string) reply {
	o.t.Helper()
	req, err := http.NewRequest(method, "http://"+o.host+"/sidegate/"+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := o.door.Do(req)
	if err != nil {
		o.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		o.t.Errorf("%s %s: may be cached", method, path)
	}
	return reply{resp.StatusCode, resp.Header, text}
}

// run runs `caddy sidegate …` at this endpoint and gives what it prints.
func (o *office) run(args ...string) (out, errors string, err error) {
	return runCommand(append(args, "--address", o.address)...)
}

func runCommand(args ...string) (out, errors string, err error) {
	cmd := &cobra.Command{Use: "sidegate"}
	caddycmd.Commands()["sidegate"].CobraFunc(cmd)
	var stdout, stderr bytes.Buffer
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(args)
	err = cmd.Execute()
	return stdout.String(), stderr.String(), err
}

func TestUsersOverTheAdminEndpoint(t *testing.T) {
	for name, address := range map[string]string{"unix socket": socket(t), "TCP": freeAddress(t)} {
		t.Run(name, func(t *testing.T) {
			o := startOffice(t, address, noLimits, "")
			o.signIn("+46701234567")
			o.signIn("+46707654321")
			r := o.ask("GET", "users?limit=1", "")
			var page struct {
				Users []struct {
					ID    uint64 `json:"auth_user_id"`
					Phone string `json:"phone"`
				}
				Next string
			}
			if err := json.Unmarshal(r.body, &page); err != nil || len(page.Users) != 1 || page.Next != "1" || page.Users[0].Phone != "+46701234567" {
				t.Fatalf("first page: %d %s", r.status, r.body)
			}
			wants(t, "the second user", o.ask("GET", "users/2", ""), 200, "")
			wants(t, "nobody", o.ask("GET", "users/3", ""), 404, "not_found")
			out, _, err := o.run("users", "list", "--after", "1")
			if err != nil || !strings.Contains(out, "+46707654321") || strings.Contains(out, "+46701234567") {
				t.Errorf("users list: %v %s", err, out)
			}
			out, _, err = o.run("users", "get", "+46701234567")
			if err != nil || !strings.Contains(out, "+46701234567") {
				t.Errorf("users get: %v %s", err, out)
			}
		})
	}
}
