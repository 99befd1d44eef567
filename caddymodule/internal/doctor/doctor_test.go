package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/internal/doctor"
)

// site is a configuration with a gate in front of an app, as Caddy adapts it.
func site(app, server, dial string) string {
	return fmt.Sprintf(`{"apps": {"sidegate": {%s}, "http": {"servers": {"srv0": {%s "routes": [
		{"match": [{"host": ["a.example"]}], "handle": [{"handler": "subroute", "routes": [
			{"handle": [{"handler": "sidegate"}]},
			{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": %q}]}]}
		]}]}
	]}}}}}`, app, server, dial)
}

func examine(t *testing.T, p doctor.Patient) map[string]doctor.Check {
	t.Helper()
	if p.Resolve == nil {
		p.Resolve = func(text string) (string, error) {
			if strings.Contains(text, "{env.") {
				return "", errors.New("no value")
			}
			return text, nil
		}
	}
	if p.Examine == nil {
		p.Examine = func(string) (string, error) { return "", nil }
	}
	report, err := doctor.Examine(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	checks, wrong := map[string]doctor.Check{}, false
	for _, c := range report.Checks {
		checks[c.Name] = c
		wrong = wrong || c.State == doctor.Wrong
		for _, f := range c.Findings {
			if f.What == "" || f.Remedy == "" {
				t.Errorf("%s: a finding without a remedy: %+v", c.Name, f)
			}
		}
	}
	if report.Healthy == wrong {
		t.Errorf("healthy: %v, with %+v", report.Healthy, report.Checks)
	}
	return checks
}

// found is what a check says, in one text.
func found(c doctor.Check) string {
	text := string(c.State)
	for _, f := range c.Findings {
		text += " " + f.What
	}
	return text
}

func TestConfigurations(t *testing.T) {
	none := func() ([]net.IP, error) { return nil, nil }
	const ok = "127.0.0.1:1"
	for _, row := range []struct {
		name, check, config string
		want                string // part of a finding; empty: all is well
	}{
		{"a secret as it is", "secrets", site(`"senders": [{"sender": "webhook", "secret": "hunter2"}]`, "", ok), "sidegate/senders/0/secret"},
		{"a secret of the environment", "secrets", site(`"senders": [{"sender": "webhook", "secret": "{env.X}"}]`, "", ok), ""},
		{"a secret of a file", "secrets", site(`"master_key": "{file./run/key}"`, "", ok), ""},
		{"a master key as it is", "secrets", site(`"master_key": "abc"`, "", ok), "sidegate/master_key"},
		{"a password in an URL", "secrets", site(`"directory": {"directory": "own", "source": "ldap://u:p@db/x"}`, "", ok), "sidegate/directory/source"},
		{"no secret at all", "secrets", site(`"app_name": "secret"`, "", ok), ""},

		{"proxies that are trusted too much", "trusted proxies", site("", `"trusted_proxies": {"source": "static"},`, ok), "trusted_proxies_strict"},
		{"proxies that are trusted strictly", "trusted proxies", site("", `"trusted_proxies": {"source": "static"}, "trusted_proxies_strict": 1,`, ok), ""},
		{"a header that no client writes", "trusted proxies", site("", `"trusted_proxies": {"source": "static"}, "client_ip_headers": ["CF-Connecting-IP"],`, ok), ""},
		{"no proxies", "trusted proxies", site("", "", ok), ""},

		{"an app with a public address", "way around the gate", site("", "", "192.0.2.7:80"), "192.0.2.7"},
		{"an app on a private network", "way around the gate", site("", "", "10.1.2.3:80"), ""},
		{"an app on a socket", "way around the gate", site("", "", "unix//run/app"), ""},
		{"an app whose place is not known here", "way around the gate", site("", "", "{env.APP}"), ""},
		{"an app that no gate is in front of", "way around the gate", strings.Replace(site("", "", "192.0.2.7:80"), `"handler": "sidegate"`, `"handler": "headers"`, 1), ""},
		{"another site of the server, without a gate", "way around the gate", strings.Replace(site("", "", ok), `"routes": [`, `"routes": [{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "192.0.2.7:80"}]}]},`, 1), ""},
		{"plain http over the internet", "plain http", site("", "", "192.0.2.7:80"), "192.0.2.7"},
		{"TLS over the internet", "plain http", strings.Replace(site("", "", "192.0.2.7:80"), `"upstreams"`, `"transport": {"protocol": "http", "tls": {}}, "upstreams"`, 1), ""},
		{"plain http to a sender elsewhere", "plain http", site(`"senders": [{"sender": "webhook", "url": "http://10.0.0.1/send"}]`, "", ok), "senders/0/url"},
		{"plain http to a sender here", "plain http", site(`"senders": [{"sender": "webhook", "url": "http://127.0.0.1:9/send"}]`, "", ok), ""},

		{"the default endpoint", "admin endpoint", `{}`, ""},
		{"an endpoint that is off", "admin endpoint", `{"admin": {"disabled": true}}`, ""},
		{"an endpoint on a socket", "admin endpoint", `{"admin": {"listen": "unix//run/caddy.sock|0220"}}`, ""},
		{"an endpoint on the loopback", "admin endpoint", `{"admin": {"listen": "tcp/[::1]:2019"}}`, ""},
		{"an endpoint by name", "admin endpoint", `{"admin": {"listen": "localhost:2020"}}`, ""},
		{"an endpoint for all", "admin endpoint", `{"admin": {"listen": ":2019"}}`, "listens on :2019"},
		{"an endpoint for the network", "admin endpoint", `{"admin": {"listen": "10.0.0.1:2019"}}`, "10.0.0.1:2019"},
		{"an endpoint for IPv6", "admin endpoint", `{"admin": {"listen": "[::]:2019"}}`, "[::]:2019"},
	} {
		got := examine(t, doctor.Patient{Config: []byte(row.config), StoreDir: "/nowhere", Own: none})[row.check]
		if (row.want == "") == (got.State == doctor.Wrong) || !strings.Contains(found(got), row.want) {
			t.Errorf("%s: %s", row.name, found(got))
		}
	}
	if _, err := doctor.Examine(t.Context(), doctor.Patient{Config: []byte("x")}); err == nil {
		t.Error("took nonsense")
	}
}

// Attack: the app listens on all interfaces, so that a neighbour reaches it
// without a session and says who they are.
func TestAppThatListensToEverybody(t *testing.T) {
	neighbour := func() ([]net.IP, error) {
		return []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP("fe80::1"), outward(t)}, nil
	}
	for _, row := range []struct {
		name, listen string
		wrong        bool
	}{{"on the loopback", "127.0.0.1:0", false}, {"everywhere", "0.0.0.0:0", true}} {
		l, err := net.Listen("tcp4", row.listen)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		got := examine(t, doctor.Patient{Config: []byte(site("", "", "localhost:"+port)), StoreDir: "/nowhere", Own: neighbour})
		if c := got["way around the gate"]; (c.State == doctor.Wrong) != row.wrong || len(c.Findings) > 1 && !row.wrong {
			t.Errorf("%s: %s", row.name, found(c))
		}
	}
	lost := func() ([]net.IP, error) { return nil, errors.New("no interfaces") }
	if c := examine(t, doctor.Patient{Config: []byte(site("", "", "localhost:1")), Own: lost})["way around the gate"]; c.State != doctor.Skipped {
		t.Errorf("got %+v", c)
	}
}

// outward is an address of this machine that is not the loopback.
func outward(t *testing.T) net.IP {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP
		}
	}
	t.Skip("this machine has no other address")
	return nil
}

func TestSenders(t *testing.T) {
	asked := false
	good := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer good.Close()
	unknown := httptest.NewTLSServer(nil) // with a certificate of its own
	defer unknown.Close()
	for _, row := range []struct {
		name, url string
		want      doctor.State
	}{
		{"one that listens", good.URL, doctor.Good},
		{"one that does not", "http://127.0.0.1:1", doctor.Wrong},
		{"one with a certificate that nobody knows", unknown.URL, doctor.Wrong},
		{"one whose address is not known here", "{env.URL}", doctor.Skipped},
	} {
		app := fmt.Sprintf(`"senders": [{"sender": "log"}, {"sender": "webhook", "url": %q}]`, row.url)
		if c := examine(t, doctor.Patient{Config: []byte(site(app, "", "unix//x")), StoreDir: "/nowhere"})["senders"]; c.State != row.want {
			t.Errorf("%s: %s", row.name, found(c))
		}
	}
	if asked {
		t.Error("something was asked of the sender")
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	store, key := filepath.Join(dir, "store"), filepath.Join(dir, "secret")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{key, filepath.Join(store, "master.key"), filepath.Join(store, "data.keys")} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	app := fmt.Sprintf(`"store": {"engine": "badger", "path": %q}, "senders": [{"sender": "webhook", "secret": "{file.%s}"}]`, store, key)
	for _, row := range []struct {
		name string
		file string
		mode os.FileMode
		want string
	}{
		{"as they should be", key, 0o640, ""},
		{"a key that others read", filepath.Join(store, "master.key"), 0o604, "master.key can be read"},
		{"data keys that others read", filepath.Join(store, "data.keys"), 0o644, "data.keys can be read"},
		{"a store that others read", store, 0o755, "store can be read"},
		{"a secret that others read", key, 0o644, "secret can be read"},
	} {
		before, err := os.Stat(row.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(row.file, row.mode); err != nil {
			t.Fatal(err)
		}
		c := examine(t, doctor.Patient{Config: []byte(site(app, "", "unix//x"))})["file modes"]
		if (row.want == "") == (c.State == doctor.Wrong) || !strings.Contains(found(c), row.want) || len(c.Findings) > 1 {
			t.Errorf("%s: %s", row.name, found(c))
		}
		if err := os.Chmod(row.file, before.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	for name, app := range map[string]string{
		"another engine": `"store": {"engine": "redis"}`, "no value here": `"store": {"engine": "badger", "path": "{env.X}"}`, "not made yet": "",
	} {
		if c := examine(t, doctor.Patient{Config: []byte(site(app, "", "unix//x")), StoreDir: "/nowhere"})["file modes"]; c.State != doctor.Skipped {
			t.Errorf("%s: %s", name, found(c))
		}
	}
}

func TestClock(t *testing.T) {
	for _, row := range []struct {
		name   string
		future func(context.Context) (int, time.Duration, error)
		want   doctor.State
	}{
		{"without a server", nil, doctor.Skipped},
		{"nothing of the future", func(context.Context) (int, time.Duration, error) { return 0, 0, nil }, doctor.Good},
		{"a clock that was ahead", func(context.Context) (int, time.Duration, error) { return 3, time.Hour, nil }, doctor.Wrong},
		{"a store that is down", func(context.Context) (int, time.Duration, error) { return 0, 0, errors.New("down") }, doctor.Skipped},
	} {
		if c := examine(t, doctor.Patient{Config: []byte("{}"), Future: row.future})["clock"]; c.State != row.want {
			t.Errorf("%s: %s", row.name, found(c))
		}
	}
}

// Whatever a Caddyfile takes for a secret, doctor does too.
func TestSecretsOfTheModulesAreKnown(t *testing.T) {
	word := regexp.MustCompile(`"([a-z_]+)": +(?:secretWord|SecretKey|caddymodule\.SecretKey)\(`)
	seen := 0
	for _, pattern := range []string{"../../*.go", "../../*/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range word.FindAllStringSubmatch(string(text), -1) {
				seen++
				config := site(fmt.Sprintf(`"senders": [{%q: "hunter2"}]`, match[1]), "", "unix//x")
				if c := examine(t, doctor.Patient{Config: []byte(config), StoreDir: "/nowhere"})["secrets"]; c.State != doctor.Wrong {
					t.Errorf("%s: %s is a secret, and doctor takes it for something else", name, match[1])
				}
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d secrets were found", seen)
	}
}

// What is wrong with the store is found by the server, which has it open, and
// without one by looking at the files.
func TestStore(t *testing.T) {
	broken := errors.New("the store is damaged: table 000001")
	files := func(skipped string, wrong error) func(string) (string, error) {
		return func(dir string) (string, error) {
			if dir != "/var/lib/a" {
				t.Errorf("looked at %q", dir)
			}
			return skipped, wrong
		}
	}
	server := func(wrong error) func(context.Context) error { return func(context.Context) error { return wrong } }
	badger, redis := `"store": {"engine": "badger", "path": "/var/lib/a"}`, `"store": {"engine": "redis"}`
	for _, row := range []struct {
		name, store string
		ready       func(context.Context) error
		examine     func(string) (string, error)
		want        doctor.State
	}{
		{"a server whose store works", redis, server(nil), nil, doctor.Good},
		{"a server whose store does not", redis, server(broken), nil, doctor.Wrong},
		{"files that are whole", badger, nil, files("", nil), doctor.Good},
		{"files that are damaged", badger, nil, files("", broken), doctor.Wrong},
		{"files that a server has open", badger, nil, files("it is in use", nil), doctor.Skipped},
		{"a store without files, and no server", redis, nil, nil, doctor.Skipped},
	} {
		got := examine(t, doctor.Patient{Config: []byte(site(row.store, "", "127.0.0.1:1")), Ready: row.ready, Examine: row.examine})["store"]
		if got.State != row.want || row.want == doctor.Wrong && (!strings.Contains(found(got), "table 000001") || !strings.Contains(got.Findings[0].Remedy, "restore a backup")) {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
}
