package caddymodule_test

import (
	"strings"
	"testing"
)

// The app says a locale, a browser a header, and the pages their own language.
func TestLanguageOfMessages(t *testing.T) {
	s := startSite(t, `
		origin https://app.example.com
		otp {
			text sv "Kod: {code}"
			text @GB "{code}, innit"
		}`, "")
	const last = "\n\n@app.example.com #"
	for i, row := range []struct{ name, phone, locale, header, want string }{
		{"nothing is said", "+46701740601", "", "", "Your Sidegate code is "},
		{"the browser's header", "+46701740602", "", "fr-CA, en;q=0.5", "Votre code Sidegate est "},
		{"the app's locale goes before it", "+46701740603", "de", "fr", "Ihr Code für Sidegate ist "},
		{"a text of the operator", "+46701740604", "sv-FI", "", "Kod: "},
		{"a country's text", "+447400123456", "sv", "", ""},
	} {
		body := map[string]any{"phone": row.phone}
		if row.locale != "" {
			body["locale"] = row.locale
		}
		wants(t, row.name, s.do("POST", apiPath+"/otp", body, "Accept-Language", row.header), 202, "")
		m := messages(t, s.codesFile(), i+1)[i]
		text, code := m["text"].(string), m["code"].(string)
		if !strings.HasPrefix(text, row.want+code) || !strings.HasSuffix(text, last+code) {
			t.Errorf("%s: %q", row.name, text)
		}
	}
	wants(t, "a locale that is no text", s.do("POST", apiPath+"/otp", map[string]any{"phone": "+46701740605", "locale": 1}), 400, "invalid_request")
}
