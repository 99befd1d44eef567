package web

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"time"
)

// frame is what every page has, besides what it shows. Its methods are the
// words of the templates.
type frame struct {
	*Look
	Base, API string
	Nonce     string // lets this answer's scripts run, and no others

	locale *locale
	asked  bool // the address names the language
	now    time.Time
}

func (p *Pages) frame(r *http.Request) *frame {
	f := &frame{Look: p.Look, Base: p.Base, API: p.API, Nonce: rand.Text(), now: p.Now()}
	f.locale, f.asked = p.Look.locales.of(r)
	return f
}

// App is the name of what the person signs in to.
func (f *frame) App() string { return f.app }

// Logo is the address of the logo, or empty.
func (f *frame) Logo() string { return f.logo }

// Initial stands for a logo.
func (f *frame) Initial() string { return f.initial() }

// Lang and Dir are of the page's language.
func (f *frame) Lang() string { return f.locale.Tag }

// Dir is the direction of the page's language.
func (f *frame) Dir() string { return f.locale.Dir }

// T is a text in the page's language. Pairs are the names and values of its
// placeholders.
func (f *frame) T(key string, pairs ...any) (string, error) { return f.locale.text(key, pairs...) }

// Span is a number of seconds in words.
func (f *frame) Span(seconds int) string { return f.locale.span(seconds) }

// When is a moment in words.
func (f *frame) When(t time.Time) string { return f.locale.when(t, f.now) }

// To is the address of a page in the same language. Pairs are its query; a
// pair without a value is left out.
func (f *frame) To(route string, pairs ...string) string {
	query := url.Values{}
	if f.asked {
		query.Set("lang", f.locale.Tag)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	if len(query) == 0 {
		return f.Base + route
	}
	return f.Base + route + "?" + query.Encode()
}

// Choice is a language that the page can be shown in.
type Choice struct {
	Tag, Name, Dir string
	Current        bool
}

// Choices are the languages, for a page that can be asked for again in another.
func (f *frame) Choices() []Choice {
	choices := make([]Choice, 0, len(f.locales.all))
	for _, l := range f.locales.all {
		choices = append(choices, Choice{l.Tag, l.Name, l.Dir, l == f.locale})
	}
	return choices
}
