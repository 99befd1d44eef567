package web

import (
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	english := plain().locales.all[0]
	for d, want := range map[time.Duration]string{1: "1 sec", 90 * time.Second: "90 sec", 91 * time.Second: "2 min", 2*time.Hour + 1: "3 hr"} {
		if got := english.span(upTo(d)); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	now := time.Unix(1e9, 0)
	for d, want := range map[time.Duration]string{-time.Hour: "just now", time.Minute: "just now", 5 * time.Minute: "5 min ago", 47 * time.Hour: "47 hr ago", 2 * day: "2001-09-07"} {
		if got := english.when(now.Add(-d), now); got != want {
			t.Errorf("%v ago: got %q, want %q", d, got, want)
		}
	}
	for agent, want := range map[string]string{
		"": "Browser",
		"Mozilla/5.0 (iPhone) AppleWebKit Safari/604":                                    "Safari on iOS",
		"Mozilla/5.0 (Windows NT 10.0) AppleWebKit Chrome/126.0 Safari/537.36 Edg/126.0": "Edge on Windows",
		"Mozilla/5.0 (Linux; Android 14) AppleWebKit Chrome/126.0 Mobile Safari/537.36":  "Chrome on Android",
		"curl/8 Linux": "Browser on Linux",
		"Firefox/1":    "Firefox",
	} {
		if got := deviceOf(agent).Name; got != want {
			t.Errorf("deviceOf(%q): got %q, want %q", agent, got, want)
		}
	}
}
