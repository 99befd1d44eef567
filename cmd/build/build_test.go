package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/xcaddy"
)

func TestPrintShowsTheEqualXcaddyCommand(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, config, want string }{
		{
			"the repository's own file builds the clone it lies in",
			"../../xcaddy.toml",
			"xcaddy build v2.11.9 --output ./caddy --with github.com/sidegate/sidegate/caddymodule" +
				" --with github.com/sidegate/sidegate/caddymodule/sns" +
				" --with github.com/sidegate/sidegate/caddymodule/sql" +
				" --with github.com/sidegate/sidegate/caddymodule/redis" +
				" --replace github.com/sidegate/sidegate=" + root,
		},
		{
			"every field has its flag or variable",
			"testdata/all.toml",
			"GOOS=linux GOARCH=arm GOARM=7 CGO_ENABLED=1 XCADDY_RACE_DETECTOR=1 XCADDY_SKIP_CLEANUP=1" +
				" XCADDY_SKIP_BUILD=1 XCADDY_DEBUG=1 XCADDY_GO_BUILD_FLAGS='-tags '\\''a b'\\''' XCADDY_GO_MOD_FLAGS=-v" +
				" xcaddy build v2.11.9 --output ./caddy --with example.com/one@v1.2.3 --with example.com/two" +
				" --replace example.com/one=" + root + "/cmd/one --replace example.com/three=example.com/four@v1.0.0" +
				" --embed site:" + root + "/cmd/build/testdata/site",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := run(t.Context(), []string{"-config", test.config, "-print"}, &out); err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSpace(out.String()); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestAWrongDescriptionIsRefused(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"an unknown key", "cady_version = \"v2\"\n", `unknown key "cady_version"`},
		{"an unknown key of a plugin", "[[plugins]]\nmodule_path = \"a\"\nversoin = \"v1\"\n", `unknown key "plugins.versoin"`},
		{"an unknown table", "[plugin]\nmodule_path = \"a\"\n", `unknown key "plugin"`},
		{"a wrong type", "caddy_version = 2\n", "caddy_version"},
		{"a repeated key", "debug = true\ndebug = true\n", "debug"},
		{"a duration without a unit", "timeout_get = \"5\"\n", "timeout_get"},
		{"a plugin without a path", "[[plugins]]\nversion = \"v1\"\n", "no module_path"},
		{"half a replacement", "[[replacements]]\nold = \"a\"\n", "both old and new"},
		{"an embedded nothing", "[[embed_dir]]\nname = \"a\"\n", "no dir"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "xcaddy.toml")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := load(file)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v, want the file and %q", err, test.want)
			}
		})
	}
}

func TestAnUnexpectedArgumentIsRefused(t *testing.T) {
	err := run(t.Context(), []string{"-config", "../../xcaddy.toml", "v2.0.0"}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "v2.0.0") {
		t.Errorf("got %v, want the argument named", err)
	}
}

func TestDescriptionHasTheBuildersNames(t *testing.T) {
	for _, test := range []struct{ ours, theirs reflect.Type }{
		{reflect.TypeFor[description](), reflect.TypeFor[xcaddy.Builder]()},
		{reflect.TypeFor[plugin](), reflect.TypeFor[xcaddy.Dependency]()},
		{reflect.TypeFor[replacement](), reflect.TypeFor[xcaddy.Replace]()},
	} {
		got, want := names(test.ours, "toml"), names(test.theirs, "json")
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v: got %v, want %v", test.ours, got, want)
		}
	}
}

// names lists the tag names of a struct's fields, those of embedded structs included.
func names(of reflect.Type, tag string) map[string]bool {
	all := map[string]bool{}
	for _, field := range reflect.VisibleFields(of) {
		if name, _, _ := strings.Cut(field.Tag.Get(tag), ","); !field.Anonymous {
			all[name] = true
		}
	}
	return all
}

func TestTheBuilderGetsEveryField(t *testing.T) {
	d, err := load("testdata/all.toml")
	if err != nil {
		t.Fatal(err)
	}
	b := reflect.ValueOf(d.builder())
	for _, field := range reflect.VisibleFields(b.Type()) {
		if b.FieldByIndex(field.Index).IsZero() {
			t.Errorf("%s was lost on its way from the file to xcaddy", field.Name)
		}
	}
}

// What a clone replaces by itself need not be known to any proxy.
func TestAReplacedModuleIsNotLookedUpElsewhere(t *testing.T) {
	clone := description{Replacements: []replacement{{Old: "example.com/one", New: "/src/one"}}}
	fork := description{Replacements: []replacement{{Old: "example.com/one", New: "example.com/two"}}}
	const usual = "https://proxy.golang.org,direct"
	for _, test := range []struct {
		name        string
		description description
		proxy, want string
	}{
		{"a directory: the proxy's refusal is no error", clone, usual, "https://proxy.golang.org|off"},
		{"the user's own proxy stays", clone, "https://proxy.example.com", "https://proxy.example.com"},
		{"another module is looked up as usual", fork, usual, usual},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("GOPROXY", test.proxy)
			if err := test.description.lookNoFurther(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := os.Getenv("GOPROXY"); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// A clone tests against the Caddy of go.mod; it must ship that one.
func TestXcaddyTomlNamesTheCaddyOfGoMod(t *testing.T) {
	d, err := load("../../xcaddy.toml")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "github.com/caddyserver/caddy/v2 " + d.CaddyVersion + "\n"; !strings.Contains(string(mod), want) {
		t.Errorf("xcaddy.toml says Caddy %s, go.mod another", d.CaddyVersion)
	}
}
