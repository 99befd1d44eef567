package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Brand is what an operator changes about the pages. The zero value changes
// nothing.
type Brand struct {
	AppName   string // what people sign in to
	Logo      string // an https URL, or a path of the site
	Accent    string // a colour, as #1a5fb4
	Templates string // a folder whose files replace ours
}

// Look is how the pages look and what they say. It is made once and shared.
type Look struct {
	app, logo string
	imgSrc    string // what a page may load images from
	views     map[string]*template.Template
	locales   locales
	assets    map[string]asset // by route
}

// asset is a file that pages refer to.
type asset struct {
	body        []byte
	media, etag string
}

// plain is the look without a brand. What it reads is embedded: it cannot fail.
var plain = sync.OnceValue(func() *Look {
	look, err := NewLook(Brand{})
	if err != nil {
		panic(err)
	}
	return look
})

// NewLook reads and checks a brand. Every page is rendered once in every
// language, so that a replaced template fails here and not before a person.
func NewLook(b Brand) (*Look, error) {
	l := &Look{app: b.AppName, logo: b.Logo, imgSrc: "'self'"}
	if l.app == "" {
		l.app = "Sidegate"
	}
	if err := l.readLogo(); err != nil {
		return nil, err
	}
	accent := standing
	if b.Accent != "" {
		var err error
		if accent, err = parseColour(b.Accent); err != nil {
			return nil, err
		}
	}
	sources, err := sourcesOf(b.Templates)
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	if l.locales, err = readLocales(sources...); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	if err := l.parse(sources); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	l.addAssets(sources, accent)
	return l, l.tryOut()
}

// readLogo checks where the logo is, and lets pages load images from there.
func (l *Look) readLogo() error {
	if l.logo == "" {
		return nil
	}
	u, err := url.Parse(l.logo)
	switch {
	case err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && !strings.ContainsAny(u.Host, " ;,*'\""):
		l.imgSrc += " https://" + u.Host
		return nil
	case err == nil && u.Scheme == "" && u.Host == "" && strings.HasPrefix(l.logo, "/") && u.RawQuery+u.Fragment == "" && !strings.Contains(l.logo, "*"):
		return nil
	}
	return fmt.Errorf("logo %q: write an https URL, or a path of this site such as /assets/logo.svg", l.logo)
}

// viewNames are the pages, each a file inside the one layout.
var viewNames = []string{"phone", "code", "account", "number", "number-code", "error"}

// sourcesOf are the folders to look for files in, ours first.
func sourcesOf(folder string) ([]fs.FS, error) {
	own, err := fs.Sub(files, "pages")
	if err != nil || folder == "" {
		return []fs.FS{own}, err
	}
	theirs := os.DirFS(folder)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	replaced := 0
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasPrefix(name, "."): // an editor's, or a version control's
		case name == "words" && e.IsDir(), isOurs(name):
			replaced++
		default:
			return nil, fmt.Errorf("%s replaces nothing; use layout.html, phone.html, code.html, account.html, error.html, style.css or words/*.json", path.Join(folder, name))
		}
	}
	if replaced == 0 {
		return nil, fmt.Errorf("%s is empty", folder)
	}
	return []fs.FS{own, theirs}, nil
}

func isOurs(name string) bool {
	_, err := fs.Stat(files, "pages/"+name)
	return err == nil && name != "page.js" && name != "words"
}

// newest is a file from the last folder that has it.
func newest(sources []fs.FS, name string) ([]byte, error) {
	for i := len(sources) - 1; i > 0; i-- {
		body, err := fs.ReadFile(sources[i], name)
		if !errors.Is(err, fs.ErrNotExist) {
			return body, err
		}
	}
	return fs.ReadFile(sources[0], name)
}

func (l *Look) parse(sources []fs.FS) error {
	layout, err := newest(sources, "layout.html")
	if err != nil {
		return err
	}
	l.views = make(map[string]*template.Template, len(viewNames))
	for _, name := range viewNames {
		content, err := newest(sources, name+".html")
		if err != nil {
			return err
		}
		view, err := template.New("layout.html").Parse(string(layout))
		if err != nil {
			return err
		}
		if _, err := view.New(name + ".html").Parse(string(content)); err != nil {
			return err
		}
		l.views[name] = view
	}
	return nil
}

// tryOut renders every page with every part that it may have.
func (l *Look) tryOut() error {
	v := view{
		Title: "sign_in_title", Alert: "otp_invalid", Left: 1, Wait: 1, Notice: "resent", Field: true, ReturnTo: "/",
		Phone: "+15555550100", Hint: "+•••••••••00", ChallengeID: "x", ResendIn: 1, ExpiresIn: 1,
		Puzzle:   &auth.Puzzle{Challenge: "x", Bits: 1},
		Sessions: []row{{Name: "x", Platform: "x", Current: true}, {}}, Others: true, Movable: true, EndOthers: true,
	}
	for _, one := range l.locales.all {
		v.frame = &frame{Look: l, locale: one, now: time.Now()}
		for name, page := range l.views {
			if page.Lookup("layout") == nil || page.Lookup("content") == nil {
				return fmt.Errorf(`templates: layout.html must define "layout", and %s.html "content"`, name)
			}
			if err := page.ExecuteTemplate(io.Discard, "layout", v); err != nil {
				return fmt.Errorf("templates: %w", err)
			}
		}
	}
	return nil
}

func (l *Look) addAssets(sources []fs.FS, accent colour) {
	style, _ := newest(sources, "style.css") // listed before, or embedded
	if accent != standing {
		style = append(style, accent.style()...)
	}
	script := func(name string) asset {
		body, _ := fs.ReadFile(files, name) // embedded
		return newAsset("text/javascript", body)
	}
	l.assets = map[string]asset{
		"/style.css": newAsset("text/css", style),
		"/icon.svg":  newAsset("image/svg+xml", l.icon(accent)),

		"/page.js":        script("pages/page.js"),
		"/client.js":      script("dist/client.js"),
		"/client.iife.js": script("dist/client.iife.js"),
		"/work.js":        script("dist/work.js"), // which the three load when they are asked for work
	}
}

func newAsset(media string, body []byte) asset {
	sum := sha256.Sum256(body)
	return asset{body, media + "; charset=utf-8", `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
}

// serve answers with an asset. Browsers keep it and ask each time whether it is
// still the same: after an update no page meets an old script.
func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.media)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}

// initial is the sign of an app without a logo.
func (l *Look) initial() string {
	first, _ := utf8.DecodeRuneInString(l.app)
	return string(unicode.ToUpper(first))
}

// icon is what a browser's tab shows.
func (l *Look) icon(accent colour) []byte {
	const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="%s"/>` +
		`<text x="16" y="22.5" font-family="system-ui,sans-serif" font-size="19" font-weight="700" text-anchor="middle" fill="%s">%s</text></svg>`
	return fmt.Appendf(nil, svg, accent, accent.on(), html.EscapeString(l.initial()))
}
