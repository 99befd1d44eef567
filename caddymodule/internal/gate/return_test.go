package gate

import (
	"net/url"
	"strings"
	"testing"
)

// An attacker sends a link to our login page that leads to his own afterwards.
var elsewhere = []string{
	"", "x", "https://evil.example", "//evil.example", `/\evil.example`, `\/evil.example`, "/\t/evil.example", "/\n/evil.example",
	"///evil.example", "/x//evil.example", "/x\\..\\..//evil.example", "javascript:alert(1)", " /x", "/x y", "/x\x7f", "/\x00", "/ä",
	"/.//evil.example", "/..//evil.example", "http:/x", "?x", "#x", "/" + strings.Repeat("a", 2048),
	"/auth", "/auth/login", "/AUTH/login?x", "/api/v1/auth/logout", "/x/../auth/login", "/%61uth/login", "/auth%2flogin", "/auth#x", "/a%zz/..%2fauth",
	"/account/../auth/login", "/auth/account/../login", "/auth/account/end", "/auth/accounts", "/auth/account%2f..%2flogin", "/auth/account;/../login",
	"/auth/account/phone/", "/auth/account/phone?x", "/auth/account/phone#x", "/auth/account/phone/code", "/auth/account/phone/resend", "/auth/account/phones",
	"/auth/account/Phone", "/AUTH/account/phone", "/auth/account%2fphone", "/auth/account/%70hone", "/auth/account/phone/../../login", "/auth/account/phone;x",
}

func TestReturnTo(t *testing.T) {
	g := newGate(t, &fake{}, nil)
	for _, text := range elsewhere {
		if got := g.ReturnTo(text); got != "/" {
			t.Errorf("%.40q: got %.40q", text, got)
		}
	}
	for _, text := range []string{"/", "/x", "/x/", "/x?a=b&c=%2F", "/x?u=https://other.example//y", "/x#part", "/%C3%A4", "/x%20y", "/authx", "/auth/account", "/auth/account/phone", "/account", "/account/phone", "/" + strings.Repeat("a", 2047)} {
		if got := g.ReturnTo(text); got != text {
			t.Errorf("%.40q: got %q", text, got)
		}
	}
}

func FuzzReturnTo(f *testing.F) {
	for _, text := range elsewhere {
		f.Add(text)
	}
	f.Add("/x?a=b")
	g := newGate(f, &fake{}, nil)
	base := &url.URL{Scheme: "https", Host: "app.example.com", Path: "/auth/login"}
	f.Fuzz(func(t *testing.T, text string) {
		got := g.ReturnTo(text)
		if got != "/" && got != text {
			t.Fatalf("%q became %q", text, got)
		}
		if got[0] != '/' || len(got) > 1 && (got[1] == '/' || got[1] == '\\') || strings.ContainsAny(got, "\r\n\t\x00\\ ") || len(got) > maxReturnTo {
			t.Fatalf("%q leads to %q", text, got)
		}
		if again := g.ReturnTo(got); again != got {
			t.Fatalf("%q: %q is not stable (%q)", text, got, again)
		}
		u, err := url.Parse(got)
		if err != nil {
			return // browsers accept what Go does not; the checks above hold
		}
		if to := base.ResolveReference(u); to.Scheme != "https" || to.Host != "app.example.com" {
			t.Fatalf("%q leads to %s", text, to)
		}
	})
}
