package sender

import (
	"maps"
	"slices"

	"golang.org/x/text/language"
)

// languages are those that a text can be in.
type languages struct {
	tags    []string // the first is for everybody else
	matcher language.Matcher
}

// ours are the languages of standard.
var ours = newLanguages(slices.Sorted(maps.Keys(standard)))

// newLanguages makes English the one for everybody else.
func newLanguages(tags []string) languages {
	i := slices.Index(tags, "en")
	tags[0], tags[i] = tags[i], tags[0]
	parsed := make([]language.Tag, len(tags))
	for i, tag := range tags {
		parsed[i] = language.Make(tag)
	}
	return languages{tags, language.NewMatcher(parsed)}
}

// match chooses by an Accept-Language, or one tag.
func (l languages) match(wish string) string {
	const most = 1000 // bytes; people's browsers send a tenth of it
	if wish == "" || len(wish) > most {
		return l.tags[0]
	}
	tags, _, err := language.ParseAcceptLanguage(wish)
	if err != nil || len(tags) == 0 {
		return l.tags[0]
	}
	_, i, _ := l.matcher.Match(tags...)
	return l.tags[i]
}
