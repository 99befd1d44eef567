package sender_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func TestText(t *testing.T) {
	longHost := strings.Repeat("sub.", 26) + "example.com"
	for _, row := range []struct {
		name, app string
		ttl       time.Duration
		host      string
		want      string
	}{
		{"an origin binds the code", "Acme", 5 * time.Minute, "app.example.com",
			"Your Acme code is 012345. It is valid for 5 minutes. Do not share it.\n\n@app.example.com #012345"},
		{"without an origin there is no last line", "Acme", 5 * time.Minute, "",
			"Your Acme code is 012345. It is valid for 5 minutes. Do not share it."},
		{"one minute is singular", "Acme", 119 * time.Second, "", "Your Acme code is 012345. It is valid for 1 minute. Do not share it."},
		{"less than a minute is in seconds", "Acme", 30 * time.Second, "", "Your Acme code is 012345. It is valid for 30 seconds. Do not share it."},
		{"no ttl is not mentioned", "Acme", 0, "", "Your Acme code is 012345. Do not share it."},
		{"no name", "", 0, "", "Your code is 012345. Do not share it."},
		{"the port is no part of the last line", "Acme", 0, "App.example.com:8443", "Your Acme code is 012345. Do not share it.\n\n@app.example.com #012345"},
		{"a host that could fake the line is left out", "Acme", 0, "evil.com #999999\n@x", "Your Acme code is 012345. Do not share it."},
		{"an address in brackets is left out", "Acme", 0, "[::1]:80", "Your Acme code is 012345. Do not share it."},
		{"letters the alphabet lacks become plain ones", "Škoda “Côté”", 0, "", `Your Skoda "Coté" code is 012345. Do not share it.`},
		{"letters without a plain form are dropped", "Яндекс 🚕 Go", 0, "", "Your Go code is 012345. Do not share it."},
		{"a name of other letters only is no name", "日本", 0, "", "Your code is 012345. Do not share it."},
		{"a line break in the name cannot fake the last line", "Acme\n\n@evil.com #1", 0, "a.b", "Your Acme @evil.com #1 code is 012345. Do not share it.\n\n@a.b #012345"},
		{"a long name is cut", strings.Repeat("name ", 40), 0, "", "Your name name name name name name na code is 012345. Do not share it."},
		{"a long host keeps its line, the rest gives way", "Acme", 5 * time.Minute, longHost[4:],
			"Your Acme code is 012345.\n\n@" + longHost[4:] + " #012345"},
		{"a host for which there is no room leaves the rest", "Acme", 0, strings.Repeat("sub.", 40) + "com", "Your Acme code is 012345. Do not share it."},
		{"the name is cut to what a long host leaves", "Acme International", 0, longHost, "Your Acme Internat code is 012345.\n\n@" + longHost + " #012345"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, _ := texts(t, sender.TextOptions{AppName: row.app, TTL: row.ttl, Host: row.host}).For("012345", "", "")
			if got != row.want {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
			if !sender.FitsGSM7(got) {
				t.Errorf("%q is more than one message", got)
			}
		})
	}
}

func texts(t *testing.T, o sender.TextOptions) *sender.Texts {
	t.Helper()
	all, err := sender.NewTexts(o)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFitsGSM7(t *testing.T) {
	for _, row := range []struct {
		name, text string
		want       bool
	}{
		{"160 letters", strings.Repeat("a", 160), true},
		{"161 letters", strings.Repeat("a", 161), false},
		{"80 letters of the extension", strings.Repeat("€", 80), true},
		{"81 letters of the extension", strings.Repeat("€", 81), false},
		{"a letter that is not in the alphabet", "ç", false},
		{"a tab", "\t", false},
		{"nothing", "", true},
	} {
		if got := sender.FitsGSM7(row.text); got != row.want {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("Acme", int64(300), "app.example.com")
	f.Add("€€€€[]{}~", int64(1), strings.Repeat("a", 120))
	f.Add("\xff\n@x #1", int64(-1), "x #1")
	f.Fuzz(func(t *testing.T, app string, seconds int64, host string) {
		const code = "0123456789"
		all := texts(t, sender.TextOptions{AppName: app, TTL: time.Duration(seconds) * time.Second, Host: host})
		for _, wish := range []string{"en", "de", "es", "fr"} {
			text, tag := all.For(code, "", wish)
			if !sender.FitsGSM7(text) || !strings.Contains(text, " "+code+".") || tag != wish {
				t.Errorf("%s for %q, %q: %q", wish, app, host, text)
			}
			if strings.Count(text, "\n") > 2 {
				t.Errorf("%s for %q, %q: %q, with lines of others", wish, app, host, text)
			}
			notice, tag := all.Notice(wish)
			if !sender.FitsGSM7(notice) || tag != wish || strings.ContainsAny(notice, "\n#") && !strings.Contains(app, "#") {
				t.Errorf("%s for %q: the notice %q", wish, app, notice)
			}
		}
	})
}
