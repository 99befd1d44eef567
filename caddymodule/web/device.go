package web

import (
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Marks in a User-Agent, the telling ones first: every Chrome also says
// Safari, and every Android also says Linux.
var (
	browsers = [][2]string{
		{"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser", "Samsung Internet"}, {"Firefox/", "Firefox"}, {"FxiOS", "Firefox"},
		{"CriOS", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"},
	}
	platforms = [][2]string{
		{"iPhone", "iOS"}, {"iPad", "iPadOS"}, {"Android", "Android"}, {"CrOS", "ChromeOS"},
		{"Windows", "Windows"}, {"Macintosh", "macOS"}, {"Linux", "Linux"},
	}
)

// deviceOf names the browser in the list of sessions. It is a label and
// nothing more: nobody is recognised by it.
func deviceOf(userAgent string) auth.DeviceInput {
	browser, platform := find(browsers, userAgent), find(platforms, userAgent)
	name := browser
	switch {
	case browser == "" && platform == "":
		name = "Browser"
	case browser == "":
		name = "Browser on " + platform
	case platform != "":
		name = browser + " on " + platform
	}
	return auth.DeviceInput{Type: "web", Name: name, Platform: platform}
}

func find(marks [][2]string, text string) string {
	for _, m := range marks {
		if strings.Contains(text, m[0]) {
			return m[1]
		}
	}
	return ""
}
