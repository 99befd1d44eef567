package sender

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"
)

// Template is a text of the operator, for those who read a language or, before
// that, for all numbers of a country: some countries deliver only texts that
// were registered. {code} stands for the code, {app} for the application's name
// and {minutes} for the code's life.
type Template struct {
	Language string // a tag such as sv or pt-BR
	Country  string // or two letters, such as IN
	Text     string
}

// TextOptions are what Texts are made of.
type TextOptions struct {
	AppName   string
	TTL       time.Duration // of a code; zero is not mentioned
	Length    int           // digits of a code
	Host      string        // of the origin; empty: codes are bound to none
	Templates []Template
}

// Texts are the messages of a configuration.
type Texts struct {
	o         TextOptions
	name      string
	languages languages
	templates map[string]string // by language
	countries map[string]string
}

// NewTexts checks the templates: each is one GSM 7-bit message with the longest
// that stands in it, the last line included.
func NewTexts(o TextOptions) (*Texts, error) {
	t := &Texts{o: o, name: gsmName(o.AppName), templates: map[string]string{}, countries: map[string]string{}}
	for _, one := range o.Templates {
		if err := t.add(one); err != nil {
			return nil, fmt.Errorf("text %s: %w", one.key(), err)
		}
	}
	tags := slices.Sorted(maps.Keys(t.templates))
	for tag := range standard {
		if _, own := t.templates[tag]; !own {
			tags = append(tags, tag)
		}
	}
	t.languages = newLanguages(tags)
	return t, nil
}

// key is how the operator has written whom a template is for.
func (t Template) key() string {
	if t.Country != "" {
		return "@" + t.Country
	}
	return t.Language
}

func (t *Texts) add(one Template) error {
	if err := one.Check(); err != nil {
		return err
	}
	if strings.Contains(one.Text, "{minutes}") && t.o.TTL < time.Minute {
		return errors.New("{minutes} says nothing about a ttl under a minute")
	}
	code := strings.Repeat("0", t.o.Length)
	if n := septets(t.fill(one.Text, code)); n > maxSeptets {
		return fmt.Errorf("with name, code and the line of the origin it takes %d characters, and one message holds %d; shorten it by %d", n, maxSeptets, n-maxSeptets)
	}
	all, key := t.templates, one.Language
	if one.Country != "" {
		all, key = t.countries, strings.ToUpper(one.Country)
	} else {
		key = language.Make(key).String() // one spelling: sv-se is sv-SE
	}
	if _, twice := all[key]; twice {
		return errors.New("is given twice; keep one")
	}
	all[key] = one.Text
	return nil
}

// Check refuses a template that nothing could be made of.
func (t Template) Check() error {
	if _, err := language.Parse(t.Language); t.Country == "" && err != nil {
		return fmt.Errorf("%q is no language; write a tag such as sv or pt-BR, or a country such as @IN", t.Language)
	}
	if strings.Count(t.Text, "{code}") != 1 {
		return errors.New("{code} must stand in it, once")
	}
	rest := strings.NewReplacer("{code}", "", "{app}", "", "{minutes}", "").Replace(t.Text)
	if strings.ContainsAny(rest, "{}") {
		return errors.New("known in braces are {code}, {app} and {minutes}")
	}
	for _, r := range rest {
		if r == '\n' || r == '\r' {
			return errors.New("it must be one line: the last one binds the code to the site")
		}
		if septets(string(r)) < 0 {
			return fmt.Errorf("%q is not in the GSM 7-bit alphabet, so one code would cost two messages; write it with another letter", r)
		}
	}
	return nil
}

// For returns what a person reads, and in which language; the language of a
// country's template is unknown. wish is an Accept-Language, or one tag.
func (t *Texts) For(code, country, wish string) (text, tag string) {
	if template, ok := t.countries[country]; ok {
		return t.fill(template, code), ""
	}
	tag = t.languages.match(wish)
	if template, ok := t.templates[tag]; ok {
		return t.fill(template, code), tag
	}
	return standard[tag].text(t.name, code, t.o.TTL, t.o.Host), tag
}

// Notice returns what the owner of a number reads that signs in no longer, and
// in which language: one of ours, since templates are for codes.
func (t *Texts) Notice(wish string) (text, tag string) {
	tag = ours.match(wish)
	return standard[tag].notice(t.name), tag
}

func (t *Texts) fill(template, code string) string {
	minutes := strconv.Itoa(int(t.o.TTL / time.Minute))
	text := fill(strings.Replace(template, "{minutes}", minutes, 1), t.name, code)
	return strings.Join(strings.Fields(text), " ") + bind(t.o.Host, code)
}
