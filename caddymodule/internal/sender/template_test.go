package sender_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func TestTextsChoose(t *testing.T) {
	all := texts(t, sender.TextOptions{
		AppName: "Acme", TTL: 5 * time.Minute, Length: 6, Host: "a.example",
		Templates: []sender.Template{
			{Language: "sv-se", Text: "Din kod för {app} är {code}. Den gäller {minutes} min."},
			{Language: "de", Text: "{app}: {code}"},
			{Country: "in", Text: "{code} is your OTP for Acme Ltd."},
		},
	})
	const last = "\n\n@a.example #012345"
	for _, row := range []struct{ name, country, wish, want, tag string }{
		{"nobody asks for a language", "SE", "", "Your Acme code is 012345. It is valid for 5 minutes. Do not share it.", "en"},
		{"a tag alone", "", "fr", "Votre code Acme est 012345. Il est valable 5 minutes. Ne le partagez pas.", "fr"},
		{"a tag with an underscore", "", "es_MX", "Tu clave de Acme es 012345. Vale 5 minutos. No la compartas.", "es"},
		{"a browser's list", "", "hi;q=0.3, fr-CA;q=0.9, ar", "Votre code Acme est 012345. Il est valable 5 minutes. Ne le partagez pas.", "fr"},
		{"a template", "SE", "sv", "Din kod för Acme är 012345. Den gäller 5 min.", "sv-SE"},
		{"a template instead of ours", "", "de-AT", "Acme: 012345", "de"},
		{"a country's template goes before the language", "IN", "de", "012345 is your OTP for Acme Ltd.", ""},
		{"a language of no letters of ours", "", "ar, hi", "Your Acme code is 012345. It is valid for 5 minutes. Do not share it.", "en"},
		{"nonsense", "", "\x00;;q=", "Your Acme code is 012345. It is valid for 5 minutes. Do not share it.", "en"},
		{"a list without end", "", strings.Repeat("de,", 1000), "Your Acme code is 012345. It is valid for 5 minutes. Do not share it.", "en"},
	} {
		text, tag := all.For("012345", row.country, row.wish)
		if text != row.want+last || tag != row.tag {
			t.Errorf("%s: got %q in %q, want %q in %q", row.name, text, tag, row.want, row.tag)
		}
		if !sender.FitsGSM7(text) {
			t.Errorf("%s: %q is more than one message", row.name, text)
		}
	}
}

// Who changes the number reads one of our languages, whatever templates there
// are: those have a code in them.
func TestNotices(t *testing.T) {
	all := texts(t, sender.TextOptions{AppName: strings.Repeat("€", 50), Templates: []sender.Template{{Language: "sv", Text: "Kod {code}"}, {Language: "de", Text: "{code}"}}})
	for wish, want := range map[string]string{"sv": "en", "de-AT": "de", "es-MX,en": "es", "fr": "fr", "": "en", "ar": "en", "\x00": "en"} {
		text, tag := all.Notice(wish)
		if tag != want || !sender.FitsGSM7(text) || !strings.Contains(text, "€") || strings.Contains(text, "{") {
			t.Errorf("%q: got %q in %s, want %s", wish, text, tag, want)
		}
	}
	if got, _ := texts(t, sender.TextOptions{AppName: "Acme"}).Notice("en"); got != "Your sign-in number for Acme was changed. If this was not you, contact support at once." {
		t.Errorf("got %q", got)
	}
	if got, _ := texts(t, sender.TextOptions{}).Notice("en"); got != "Your sign-in number was changed. If this was not you, contact support at once." {
		t.Errorf("without a name: %q", got)
	}
}

func TestNewTextsRefuses(t *testing.T) {
	long := strings.Repeat("x", 112)
	for _, row := range []struct {
		template sender.Template
		ttl      time.Duration
		want     string // empty: it is taken
	}{
		{sender.Template{Language: "sv", Text: "{code}" + long + "{app}"}, time.Minute, ""}, // with code, name and last line 160
		{sender.Template{Language: "sv", Text: "{code}y" + long + "{app}"}, time.Minute, "it takes 161 characters, and one message holds 160; shorten it by 1"},
		{sender.Template{Country: "SE", Text: "{code}€" + long + "{app}"}, time.Minute, "text @SE: with name, code and the line of the origin it takes 162"},
		{sender.Template{Language: "sv", Text: "Kod"}, time.Minute, "{code} must stand in it, once"},
		{sender.Template{Language: "sv", Text: "{code} {code}"}, time.Minute, "{code} must stand in it, once"},
		{sender.Template{Language: "sv", Text: "{code} {name}"}, time.Minute, "known in braces are {code}, {app} and {minutes}"},
		{sender.Template{Language: "ar", Text: "رمزك {code}"}, time.Minute, "'ر' is not in the GSM 7-bit alphabet"},
		{sender.Template{Language: "sv", Text: "{code}\n@evil.example #1"}, time.Minute, "it must be one line"},
		{sender.Template{Language: "swedish!", Text: "{code}"}, time.Minute, "is no language"},
		{sender.Template{Language: "sv", Text: "{code}, {minutes} min"}, 30 * time.Second, "a ttl under a minute"},
	} {
		_, err := sender.NewTexts(sender.TextOptions{
			AppName: "Acme World", TTL: row.ttl, Length: 10, Host: "sub.a.example",
			Templates: []sender.Template{row.template},
		})
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%q: got %v, want %q", row.template.Text, err, row.want)
		}
	}
	twice := []sender.Template{{Language: "sv", Text: "{code}"}, {Language: "SV", Text: "{code}"}}
	if _, err := sender.NewTexts(sender.TextOptions{Templates: twice}); err == nil {
		t.Error("a language is taken twice")
	}
}
