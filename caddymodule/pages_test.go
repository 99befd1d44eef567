package caddymodule_test

import (
	"strings"
	"testing"
)

// A logo of the site loads for who is not signed in; nothing beside it does.
func TestLogo(t *testing.T) {
	s := startSite(t, "", "pages /auth {\n logo /assets/Logo.svg\n accent 1a5fb4\n }\n require /assets/secret/* role admin")
	page := s.do("GET", "/auth/login", nil)
	if !strings.Contains(string(page.body), `src="/assets/Logo.svg"`) {
		t.Errorf("got %s", page.body)
	}
	wants(t, "logo", s.do("GET", "/assets/Logo.svg", nil), 200, "")
	for _, target := range []string{"/assets/logo.svg/x", "/assets/Logo.svg.bak", "/assets/", "/assets/x/../Logo.svg", "/assets/%4cogo%2esvg%00", "//assets/Logo.svg"} {
		if r := s.do("GET", target, nil); r.status != 401 && r.status != 400 {
			t.Errorf("%s: got %d", target, r.status)
		}
	}
}

func TestClientIsServed(t *testing.T) {
	s := startSite(t, "", "pages /login")
	for _, name := range []string{"client.js", "client.iife.js", "work.js"} {
		r := s.do("GET", "/login/"+name, nil)
		if r.status != 200 || r.header.Get("Content-Type") != "text/javascript; charset=utf-8" || len(r.body) < 1000 {
			t.Errorf("%s: got %d with %d bytes, %v", name, r.status, len(r.body), r.header)
		}
		wants(t, "known already", s.do("GET", "/login/"+name, nil, "If-None-Match", r.header.Get("ETag")), 304, "")
	}
}
