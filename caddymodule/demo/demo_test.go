package demo

import (
	"io/fs"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestFilesHoldThePage(t *testing.T) {
	f := new(Files)
	if err := f.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"index.html", "demo.js", "demo.css", "icon.svg"} {
		if content, err := fs.ReadFile(f, name); err != nil || len(content) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(content), err)
		}
	}
}

func TestNothingIsToBeSet(t *testing.T) {
	for text, fine := range map[string]bool{
		"sidegate_demo":             true,
		"sidegate_demo more":        false,
		"sidegate_demo {\n root x}": false,
	} {
		if err := new(Files).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); (err == nil) != fine {
			t.Errorf("%q: %v", text, err)
		}
	}
}
