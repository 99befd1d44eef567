package redis_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// order makes a request to the admin endpoint, a unix socket.
func (g *gate) order(method, path, body string) (status int, answer string) {
	g.t.Helper()
	door := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(g.admin, "unix/"))
	}}}
	r, err := http.NewRequestWithContext(g.t.Context(), method, "http://localhost/sidegate/"+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-ndjson")
	}
	response, err := door.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// What operators do with lists works on Redis as on the embedded store.
func TestOperatorsListOnRedis(t *testing.T) {
	server := startRedis(t)
	g := newGate(t)
	dir, err := os.MkdirTemp("", "sg") // the kernel takes short paths only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	g.admin = "unix/" + filepath.Join(dir, "admin")
	if err := g.load("master_key " + masterKey + "\n store redis {\n address " + server.Address + "\n }"); err != nil {
		t.Fatal(err)
	}
	g.signIn()
	for _, o := range []struct {
		method, path, body string
		status             int
		has, lacks         string
	}{
		{"GET", "users", "", 200, `"auth_user_id":1,`, ""},
		{"POST", "users/import", `{"phone":"+46709998875","auth_user_id":4713}`, 200, `"created":1`, ""},
		{"GET", "users?limit=1", "", 200, `"next":"`, ""},
		{"GET", "users/export", "", 200, `"auth_user_id":4713`, ""},
		{"GET", "users/1/devices", "", 200, `"device_id":"`, ""},
		{"GET", "users/1/export", "", 200, `"is_active":true`, ""},
		{"GET", "stats", "", 200, `"users":2`, ""},
		{"DELETE", "users/1", "", 204, "", ""},
		{"GET", "users", "", 200, `"auth_user_id":4713,`, `"auth_user_id":1,`},
		{"GET", "users/1/devices", "", 404, "not_found", ""},
		{"GET", "users/export", "", 200, `"auth_user_id":4713`, `"auth_user_id":1,`},
	} {
		status, answer := g.order(o.method, o.path, o.body)
		if status != o.status || !strings.Contains(answer, o.has) || o.lacks != "" && strings.Contains(answer, o.lacks) {
			t.Errorf("%s %s: %d %s", o.method, o.path, status, answer)
		}
	}
}
