package main

import (
	"fmt"
	"regexp"
	"strings"
)

// command is the xcaddy call that builds the same binary, ready for a shell. The two timeouts have no
// flag there: they bound the build and do not change it.
func (d description) command(output string) string {
	words := append(d.environment(), "xcaddy", "build")
	if d.CaddyVersion != "" {
		words = append(words, quote(d.CaddyVersion))
	}
	words = append(words, "--output", quote(output))
	for _, p := range d.Plugins {
		with := p.ModulePath
		if p.Version != "" {
			with += "@" + p.Version
		}
		words = append(words, "--with", quote(with))
	}
	for _, r := range d.Replacements {
		words = append(words, "--replace", quote(r.Old+"="+r.New))
	}
	for _, e := range d.EmbedDirs {
		words = append(words, "--embed", quote(e.Name+":"+e.Dir))
	}
	return strings.Join(words, " ")
}

// environment is what xcaddy takes from variables instead of flags.
func (d description) environment() []string {
	var set []string
	for _, v := range []struct{ name, value string }{
		{"GOOS", d.OS}, {"GOARCH", d.Arch}, {"GOARM", d.ARM},
		{"CGO_ENABLED", one(d.Cgo)},
		{"XCADDY_RACE_DETECTOR", one(d.RaceDetector)},
		{"XCADDY_SKIP_CLEANUP", one(d.SkipCleanup)},
		{"XCADDY_SKIP_BUILD", one(d.SkipBuild)},
		{"XCADDY_DEBUG", one(d.Debug)},
		{"XCADDY_GO_BUILD_FLAGS", d.BuildFlags},
		{"XCADDY_GO_MOD_FLAGS", d.ModFlags},
	} {
		if v.value != "" {
			set = append(set, fmt.Sprintf("%s=%s", v.name, quote(v.value)))
		}
	}
	return set
}

func one(on bool) string {
	if on {
		return "1"
	}
	return ""
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quote makes s one word of a POSIX shell.
func quote(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
