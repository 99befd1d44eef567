package doctor

import (
	"context"
	"net/url"
	"strings"
)

// isSecret reports whether a key's value must not be read by others.
func isSecret(key string) bool {
	return key == "master_key" || key == "dsn" || strings.HasSuffix(key, "token") || strings.Contains(key, "secret") || strings.Contains(key, "password")
}

// secrets looks for those that stand in the configuration itself. Whoever may
// read that, or the copy that Caddy saves of it, has them.
func secrets(_ context.Context, _ *Patient, c *config) (found []Finding, _ string) {
	for _, t := range texts(c.Apps.Sidegate) {
		if t.value == "" || strings.Contains(t.value, "{env.") || strings.Contains(t.value, "{file.") {
			continue
		}
		if isSecret(t.key) || hasPassword(t.value) {
			found = append(found, Finding{
				"sidegate/" + t.path + " stands in the configuration as it is: the admin endpoint and autosave.json show it.",
				"Write {env.NAME} or {file./path} in its place ({$NAME} is filled in too early), and replace the secret: it may have been read.",
			})
		}
	}
	return found, ""
}

// hasPassword reports whether a text is an URL with a password in it.
func hasPassword(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return false
	}
	_, has := u.User.Password()
	return has
}
