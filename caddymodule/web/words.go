package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/language"
)

// locale is one language of the pages.
type locale struct {
	Tag   string            `json:"-"`
	Name  string            `json:"name"` // in the language itself
	Dir   string            `json:"dir"`  // ltr or rtl
	Texts map[string]string `json:"texts"`
}

// locales are the languages to choose from. The first is for everybody else.
type locales struct {
	all     []*locale
	matcher language.Matcher
}

// standard is the language that has every text.
const standard = "en"

// readLocales reads words/*.json, one file for each language. A file of the
// folder that replaces pages may add a language, or change some texts of one:
// texts that it leaves out stay as they are.
func readLocales(sources ...fs.FS) (locales, error) {
	byTag := map[string]*locale{}
	var needed map[string]string // the texts that our own folder, the first, has
	for i, source := range sources {
		names, err := fs.Glob(source, "words/*.json")
		if err != nil {
			return locales{}, err
		}
		for _, name := range names {
			if err := readLocale(source, name, byTag); err != nil {
				return locales{}, fmt.Errorf("%s: %w", name, err)
			}
		}
		if i == 0 {
			needed = maps.Clone(byTag[standard].Texts)
		}
	}
	for _, l := range byTag {
		if err := l.lacks(needed); err != nil {
			return locales{}, fmt.Errorf("words/%s.json: %w", l.Tag, err)
		}
	}
	return orderLocales(byTag), nil
}

func readLocale(source fs.FS, name string, byTag map[string]*locale) error {
	tag, err := language.Parse(strings.TrimSuffix(path.Base(name), ".json"))
	if err != nil {
		return errors.New("name the file for a language tag, such as sv.json")
	}
	text, err := fs.ReadFile(source, name)
	if err != nil {
		return err
	}
	l := byTag[tag.String()]
	if l == nil {
		l = &locale{Tag: tag.String()}
		byTag[l.Tag] = l
	}
	if err := json.Unmarshal(text, l); err != nil { // into the texts that are there
		return err
	}
	if l.Dir != "ltr" && l.Dir != "rtl" || l.Name == "" {
		return errors.New(`"name" is needed, and "dir", which is ltr or rtl`)
	}
	return nil
}

// lacks holds a language against the texts that pages use.
func (l *locale) lacks(needed map[string]string) error {
	for key, text := range needed {
		if l.Texts[key] == "" || !slices.Equal(placeholders(l.Texts[key]), placeholders(text)) {
			return fmt.Errorf("%q needs a text with the placeholders of %q", key, text)
		}
	}
	for key := range l.Texts {
		if _, known := needed[key]; !known {
			return fmt.Errorf("unknown text %q", key)
		}
	}
	return nil
}

func orderLocales(byTag map[string]*locale) locales {
	first := byTag[standard]
	list := locales{}
	for _, l := range byTag {
		list.all = append(list.all, l)
	}
	slices.SortFunc(list.all, func(a, b *locale) int {
		switch first {
		case a:
			return -1
		case b:
			return 1
		}
		return strings.Compare(a.Tag, b.Tag)
	})
	tags := make([]language.Tag, len(list.all))
	for i, l := range list.all {
		tags[i] = language.Make(l.Tag)
	}
	list.matcher = language.NewMatcher(tags)
	return list
}

// placeholders are the {names} in a text, sorted.
func placeholders(text string) (names []string) {
	for {
		_, rest, ok := strings.Cut(text, "{")
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			slices.Sort(names)
			return names
		}
		names, text = append(names, name), after
	}
}

// of chooses the language of a request. asked tells that the address names it:
// the pages' own addresses then go on doing so.
func (l locales) of(r *http.Request) (chosen *locale, asked bool) {
	if tag := r.URL.Query().Get("lang"); tag != "" {
		for _, one := range l.all {
			if one.Tag == tag {
				return one, true
			}
		}
	}
	const most = 1000 // bytes; people's browsers send a tenth of it
	wish := strings.Join(r.Header.Values("Accept-Language"), ",")
	if len(wish) > most {
		return l.all[0], false
	}
	tags, _, err := language.ParseAcceptLanguage(wish)
	if err != nil || len(tags) == 0 {
		return l.all[0], false
	}
	_, i, _ := l.matcher.Match(tags...)
	return l.all[i], false
}

// isolated marks a value so that it keeps its own direction within a text (UAX
// #9, section 2.4); also where no element can, in a title. Numbers read from
// left to right in every language: without a letter that says so, a masked one
// would be turned around.
func isolated(value string) string {
	const leftToRight, firstStrong, end = "\u2066", "\u2068", "\u2069"
	if strings.ContainsFunc(value, unicode.IsLetter) {
		return firstStrong + value + end
	}
	return leftToRight + value + end
}

// text is a text with its placeholders filled in: pairs are names and values.
// Those without a value stay, for the script.
func (l *locale) text(key string, pairs ...any) (string, error) {
	text, ok := l.Texts[key]
	if !ok || len(pairs)%2 != 0 {
		return "", fmt.Errorf("no text %q that takes %d values", key, len(pairs)/2)
	}
	for i := 0; i < len(pairs); i += 2 {
		text = strings.ReplaceAll(text, fmt.Sprintf("{%v}", pairs[i]), isolated(fmt.Sprint(pairs[i+1])))
	}
	return text, nil
}

// span is a length of time in words, never too short.
func (l *locale) span(number int) string {
	unit := "seconds"
	switch {
	case number > 2*3600:
		number, unit = (number+3599)/3600, "hours"
	case number > 90:
		number, unit = (number+59)/60, "minutes"
	}
	return strings.ReplaceAll(l.Texts[unit], "{count}", strconv.Itoa(number))
}

// when is a moment in words. The script puts the reader's own date in its
// place; without it, what is long ago is a date that all languages read.
func (l *locale) when(t, now time.Time) string {
	switch ago := now.Sub(t); {
	case ago < 2*time.Minute:
		return l.Texts["just_now"]
	case ago < 2*day:
		return strings.ReplaceAll(l.Texts["ago"], "{time}", l.span(int(ago/time.Second)))
	}
	return t.UTC().Format(time.DateOnly)
}

const day = 24 * time.Hour
