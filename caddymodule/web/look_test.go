package web

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestContrast(t *testing.T) {
	for text, want := range map[string]colour{"#1a5fb4": standing, "1A5FB4": standing, "#15b": {0x11, 0x55, 0xbb}, "000": black} {
		if got, err := parseColour(text); got != want || err != nil {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "#", "blue", "#12", "#1234", "1a5fb4ff", "##15b", "12é"} {
		if got, err := parseColour(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
	if got := contrast(white, black); got != 21 {
		t.Errorf("white on black: got %v, want 21", got)
	}
	// Every 17th shade of each channel: text is legible on all of them, and in
	// shades of all of them.
	for i := range 16 * 16 * 16 {
		c := colour{uint8(i >> 8 * 17), uint8(i >> 4 & 15 * 17), uint8(i & 15 * 17)}
		on, light, dark := contrast(c, c.on()), contrast(c.legibleOn(lightCard, black), lightCard), contrast(c.legibleOn(darkCard, white), darkCard)
		if min(on, light, dark) < legible {
			t.Errorf("%v: contrasts %.2f %.2f %.2f", c, on, light, dark)
		}
	}
	if c := (colour{0, 0, 0x80}); c.legibleOn(lightCard, black) != c {
		t.Error("a legible accent was changed")
	}
}

// The colours in colour.go are those of the style sheet.
func TestStyleKnowsTheColours(t *testing.T) {
	style := string(acme().assets["/style.css"].body)
	for _, line := range []string{"--card: #ffffff", "--card: " + darkCard.String(), "--accent: " + standing.String()} {
		if !strings.Contains(style, line) {
			t.Errorf("style.css lacks %q", line)
		}
	}
}

func TestBrand(t *testing.T) {
	look, err := NewLook(Brand{AppName: "<é>", Logo: "https://cdn.example.com:8443/l.svg?v=1", Accent: "#ffd400"})
	if err != nil {
		t.Fatal(err)
	}
	p := newPages(&fake{})
	p.Look = look
	w := call(p, "GET", "/login", "")
	check(t, w, 200, "", `<img class="logo" src="https://cdn.example.com:8443/l.svg?v=1" alt="&lt;é&gt;">`)
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "img-src 'self' https://cdn.example.com:8443;") {
		t.Errorf("got %q", csp)
	}
	check(t, call(p, "GET", "/style.css", ""), 200, "", "--button: #ffd400; --on-button: #000000; --accent: #")
	check(t, call(p, "GET", "/icon.svg", ""), 200, "", `fill="#ffd400"`, "&lt;</text>")

	for _, logo := range []string{"http://a.example/l.svg", "//a.example/l.svg", "l.svg", "https://", "https://u@a.example/l", "javascript:x", "data:image/png,x", "/a/*", "/l.svg?x", "https://a.example;b/l", "https://a example/", "https://*/l.svg", "%"} {
		if _, err := NewLook(Brand{Logo: logo}); err == nil || !strings.Contains(err.Error(), "logo") {
			t.Errorf("logo %q: got %v", logo, err)
		}
	}
}

// folder writes files: names and contents.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTemplates(t *testing.T) {
	swedish := strings.Replace(read(t, "pages/words/en.json"), `"English"`, `"Svenska"`, 1)
	p := newPages(&fake{})
	var err error
	p.Look, err = NewLook(Brand{Templates: folder(t,
		"error.html", `{{define "content"}}<p>ring {{.App}}</p>{{end}}`,
		"style.css", "main{color:red}",
		"words/en.json", `{"texts":{"send_code":"Text me"}}`,
		"words/sv.json", strings.Replace(swedish, `"Send code"`, `"Skicka koden"`, 1),
		".git", "",
	)})
	if err != nil {
		t.Fatal(err)
	}
	check(t, call(p, "GET", "/nope", ""), 404, "not_found", "ring Sidegate", "This page does not exist")
	check(t, call(p, "GET", "/style.css", ""), 200, "", "main{color:red}")
	check(t, call(p, "GET", "/login", ""), 200, "", "Text me", "Phone number", "Svenska")
	check(t, call(p, "GET", "/login", "", "Accept-Language: sv-FI"), 200, "", `lang="sv"`, "Skicka koden")

	for name, row := range map[string][]string{
		"a file that replaces nothing":     {"phon.html", "", "phon.html replaces nothing"},
		"an empty folder":                  {".keep", "", "is empty"},
		"a template that does not parse":   {"phone.html", "{{if}}", "phone.html:1"},
		"a template that does not render":  {"phone.html", `{{define "content"}}{{.Nobody}}{{end}}`, "phone.html:1"},
		"an unknown text":                  {"phone.html", `{{define "content"}}{{.T "nothing"}}{{end}}`, `no text "nothing"`},
		"a template without its part":      {"phone.html", "<p>", `phone.html "content"`},
		"a language that lacks texts":      {"words/sv.json", `{"name":"Svenska","dir":"ltr","texts":{}}`, "words/sv.json"},
		"a language without a direction":   {"words/sv.json", `{"name":"Svenska"}`, `"dir"`},
		"a language that is none":          {"words/swedish!.json", `{}`, "language tag"},
		"a text that is none":              {"words/en.json", `{"texts":{"send":"x"}}`, `unknown text "send"`},
		"a text that lost its placeholder": {"words/en.json", `{"texts":{"try_in":"Later"}}`, "{time}"},
		"words that are no JSON":           {"words/en.json", `{`, "words/en.json"},
	} {
		if _, err := NewLook(Brand{Templates: folder(t, row[0], row[1])}); err == nil || !strings.Contains(err.Error(), row[2]) {
			t.Errorf("%s: got %v, want %q", name, err, row[2])
		}
	}
	if _, err := NewLook(Brand{Templates: "/nowhere"}); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("got %v", err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Pages refer to assets by one address, so browsers must ask each time.
func TestAssets(t *testing.T) {
	p := newPages(&fake{})
	for route, media := range map[string]string{
		"/style.css": "text/css; charset=utf-8", "/page.js": "text/javascript; charset=utf-8", "/icon.svg": "image/svg+xml; charset=utf-8",
		"/client.js": "text/javascript; charset=utf-8", "/client.iife.js": "text/javascript; charset=utf-8",
		"/work.js": "text/javascript; charset=utf-8",
	} {
		w := call(p, "GET", route, "")
		check(t, w, 200, "")
		h := w.Header()
		if h.Get("Content-Type") != media || h.Get("Cache-Control") != "no-cache" || h.Get("X-Content-Type-Options") != "nosniff" || w.Body.Len() == 0 {
			t.Errorf("%s: %d bytes, %v", route, w.Body.Len(), h)
		}
		if again := call(p, "GET", route, "", "If-None-Match: "+h.Get("ETag")); again.Code != 304 || again.Body.Len() != 0 {
			t.Errorf("%s, known already: got %d with %d bytes", route, again.Code, again.Body.Len())
		}
		check(t, call(p, "POST", route, ""), 405, "method_not_allowed")
	}
}
