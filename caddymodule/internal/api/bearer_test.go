package api

import "testing"

// What the gate takes for an access token is one at the routes too, and the
// other way round: else a client works in one place and loops in the other.
func TestSpellingsOfBearer(t *testing.T) {
	for _, test := range []struct {
		name, value string
		status      int
	}{
		{"one space", "Bearer good", 200},
		{"more spaces (RFC 9110 section 11.4)", "Bearer   good", 200},
		{"another case", "bEARER good", 200},
		{"a space behind it", "Bearer good ", 200},
		{"a tab, as at the gate", "Bearer\tgood", 200},
		{"two tokens", "Bearer good, Bearer good", 400},
		{"a comma", "Bearer good,", 400},
		{"two words", "Bearer good good", 400},
		{"no token", "Bearer", 401},
		{"another scheme", "Basic good", 401},
		{"no scheme", "good", 401},
	} {
		got := call(newAPI(&fake{}), "GET", "/session", "", "Authorization: "+test.value)
		if got.Code != test.status {
			t.Errorf("%s: got %d, want %d", test.name, got.Code, test.status)
		}
	}
}
