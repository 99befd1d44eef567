package caddymodule_test

import (
	"strings"
	"testing"
)

// TRACE echoes credentials, CONNECT and foreign upgrades open a tunnel whose
// requests nobody checks.
func attackTunnels(a *attacker, t *testing.T) {
	const user = "GET /app\nAuthorization: Bearer {token}\n"
	a.run(t, []attack{
		{"TRACE", "TRACE /public/x", "405 method_not_allowed", nil},
		{"TRACE of a user", "TRACE /app\nAuthorization: Bearer {token}", "405 method_not_allowed", nil},
		{"trace", "trace /public/x", "405 method_not_allowed", nil},
		{"TRACK", "TRACK /public/x", "405 method_not_allowed", nil},
		{"CONNECT to the site", "CONNECT {host}", "405 method_not_allowed", nil},
		{"CONNECT with a path", "CONNECT /public/x", "405 method_not_allowed", nil},
		{"TRACE of our own route", "TRACE /api/v1/auth/user\nAuthorization: Bearer {token}", "405 method_not_allowed", nil},

		{"h2c", "GET /public/x\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__", "200 anonymous", []string{"!Upgrade", "!Connection"}},
		{"h2c of a user", user + "Connection: Upgrade\nUpgrade: h2c", "200 bearer", []string{"!Upgrade", "!Connection"}},
		{"h2c behind a websocket", user + "Connection: Upgrade\nUpgrade: websocket, h2c", "200 bearer", []string{"!Upgrade"}},
		{"h2c in a second line", user + "Connection: Upgrade\nUpgrade: websocket\nUpgrade: h2c", "200 bearer", []string{"!Upgrade"}},
		{"TLS", user + "Connection: Upgrade\nUpgrade: TLS/1.0", "200 bearer", []string{"!Upgrade"}},
		{"anything", user + "Connection: Upgrade\nUpgrade: raw", "200 bearer", []string{"!Upgrade"}},
		{"websocket", user + "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13", "200 bearer", []string{"Upgrade: websocket", "Connection: Upgrade"}},
		{"websocket of a stranger", "GET /app\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "401 token_missing", nil},
	})
}

// What could be read as either of two people is refused, and nothing of ours
// goes on to the upstream, in whatever place it stands.
func attackCredentials(a *attacker, t *testing.T) {
	const token, cookie, app, public = "Authorization: Bearer {token}", "Cookie: sidegate={cookie}", "GET /app\n", "GET /public/x\n"
	a.run(t, []attack{
		{"two Authorization lines", app + token + "\nAuthorization: Bearer x", "400 invalid_request", nil},
		{"two Authorization lines, ours second", app + "Authorization: Basic dTpw\n" + token, "400 invalid_request", nil},
		{"the same line twice", app + token + "\n" + token, "400 invalid_request", nil},
		{"two lines on a public path", public + token + "\n" + token, "400 invalid_request", nil},
		{"two tokens in one line", app + token + ", Bearer x", "400 invalid_request", nil},
		{"two tokens behind one scheme", app + "Authorization: Bearer x {token}", "400 invalid_request", nil},
		{"bearer and cookie", app + token + "\n" + cookie, "400 invalid_request", nil},
		{"bearer and cookie on a public path", public + token + "\n" + cookie, "400 invalid_request", nil},
		{"a dead bearer and a cookie", app + "Authorization: Bearer {token}x\n" + cookie, "400 invalid_request", nil},
		{"cookie twice", app + "Cookie: sidegate={cookie}; sidegate=x", "400 invalid_request", nil},
		{"cookie twice, in two lines", app + cookie + "\nCookie: sidegate=x", "400 invalid_request", nil},
		{"cookie twice, once quoted", app + cookie + "; \"sidegate\"=x", "400 invalid_request", nil},

		{"token in the query", "GET /app?access_token={token}", "401 token_missing", nil},
		{"token in the query, by the name of the header", "GET /app?Authorization=Bearer+{token}", "401 token_missing", nil},
		{"token in a form", "POST /app\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 14\n\naccess_token=x", "401 token_missing", nil},
		{"token without a scheme", app + "Authorization: {token}", "401 token_missing", nil},
		{"token under another scheme", app + "Authorization: Token {token}", "401 token_missing", nil},
		{"refresh token as a bearer", app + "Authorization: Bearer {refresh}", "401 token_invalid", nil},
		{"cookie as a bearer", app + "Authorization: Bearer {cookie}", "401 token_invalid", nil},
		{"access token as the cookie", app + "Cookie: sidegate={token}", "401 token_invalid", nil},
		{"refresh token as the cookie", app + "Cookie: sidegate={refresh}", "401 token_invalid", nil},
		{"cookie under the name for TLS", app + "Cookie: __Host-sidegate={cookie}", "401 token_missing", nil},
		{"cookie in capitals", app + "Cookie: SIDEGATE={cookie}", "401 token_missing", nil},

		{"bearer in small letters", app + "Authorization: bearer {token}", "200 bearer", []string{"!Authorization"}},
		{"bearer on a public path", public + token, "200 bearer", []string{"!Authorization"}},
		{"without a scheme on a public path", public + "Authorization: {token}", "200 anonymous", []string{"!Authorization"}},
		{"under another scheme on a public path", public + "Authorization: Token token=\"{token}\"", "200 anonymous", []string{"!Authorization"}},
		{"spoiled on a public path", public + "Authorization: Bearer {token}=", "200 anonymous", []string{"!Authorization"}},
		{"refresh token on a public path", public + "Authorization: Bearer {refresh}", "200 anonymous", []string{"!Authorization"}},
		{"proxy credential", public + "Proxy-Authorization: Bearer {token}", "200 anonymous", nil},
		{"cookie among others", app + "Cookie: theme=dark; sidegate={cookie}; lang=sv", "200 cookie", []string{"Cookie: theme=dark; lang=sv\r\n"}},
		{"cookie alone in its line", app + "Cookie: theme=dark\n" + cookie, "200 cookie", []string{"Cookie: theme=dark\r\n", "!Cookie: sidegate"}},
		{"cookie of the other name on a public path", public + "Cookie: a=b; __Host-sidegate={cookie}", "200 anonymous", []string{"Cookie: a=b\r\n"}},
		{"cookie in capitals on a public path", public + "Cookie: SideGate={cookie}; a=b", "200 anonymous", []string{"Cookie: a=b\r\n"}},
		{"cookie without a name on a public path", public + "Cookie: =sidegate={cookie}; a=b", "200 anonymous", []string{"Cookie: a=b\r\n"}},

		{"foreign cookies stay byte for byte", public + "Cookie: a=\"b c\";sid=1 ;  xsidegate=2", "200 anonymous", []string{"Cookie: a=\"b c\";sid=1 ;  xsidegate=2\r\n"}},
		{"Basic stays", public + "Authorization: Basic dTpw", "200 anonymous", []string{"Authorization: Basic dTpw\r\n"}},
		{"Basic beside the cookie stays", app + cookie + "\nAuthorization: Basic dTpw", "200 cookie", []string{"Authorization: Basic dTpw\r\n"}},
		{"a foreign bearer stays on a public path", public + "Authorization: Bearer ghp_16C7e42F292c6912E77", "200 anonymous", []string{"Authorization: Bearer ghp_"}},
		{"a foreign bearer is nobody elsewhere", app + "Authorization: Bearer ghp_16C7e42F292c6912E77", "401 token_invalid", nil},
	})
}

// Another site's page makes the browser send the cookie along.
func attackCrossSite(a *attacker, t *testing.T) {
	const cookie = "\nCookie: sidegate={cookie}\n"
	const socket = "GET /app" + cookie + "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
	const refused = "403 cross_origin_blocked"
	rows := []attack{
		{"another port", "POST /app" + cookie + "Origin: http://127.0.0.1:1", refused, nil},
		{"websocket from another site", socket + "Sec-Fetch-Site: cross-site", refused, nil},
		{"websocket from another origin", socket + "Origin: https://evil.example", refused, nil},
		{"websocket from no origin", socket + "Origin: null", refused, nil},
		{"websocket of our page", socket + "Origin: http://{host}", "200 cookie", []string{"Upgrade: websocket"}},
		{"a link from another site", "GET /app" + cookie + "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate", "200 cookie", nil},
		{"our page", "POST /app" + cookie + "Sec-Fetch-Site: same-origin\nContent-Length: 0", "200 cookie", nil},
		{"our page in an old browser", "POST /app" + cookie + "Origin: http://{host}\nContent-Length: 0", "200 cookie", nil},
		{"no browser", "POST /app" + cookie + "Content-Length: 0", "200 cookie", nil},
		{"a bearer token is sent by nobody unasked", "POST /app\nAuthorization: Bearer {token}\nSec-Fetch-Site: cross-site\nContent-Length: 0", "200 bearer", nil},
	}
	for _, from := range []string{
		"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: forged", "Sec-Fetch-Site:",
		"Sec-Fetch-Site: same-origin\nSec-Fetch-Site: cross-site", "Sec-Fetch-Site: cross-site\nOrigin: http://{host}",
		"Origin: https://evil.example", "Origin: null", "Origin:", "Origin: http://{host}.evil.example", "Origin: http://{host}0", "Origin: http://{host}/", "Origin: http://x{host}", "Origin: http://{host}@evil.example",
		"Origin: http://evil.example/{host}", "Origin: http://{host}\nOrigin: https://evil.example", "Origin: http://{host}, https://evil.example",
	} {
		name := strings.ReplaceAll(from, "\n", ", ")
		rows = append(rows,
			attack{"POST, " + name, "POST /app" + cookie + from, refused, nil},
			attack{"POST to a public path, " + name, "POST /public/x" + cookie + from, refused, nil},
			attack{"our logout, " + name, "POST /api/v1/auth/logout" + cookie + "Content-Type: application/json\nContent-Length: 2\n" + from + "\n\n{}", refused, nil},
			attack{"our login form, " + name, "POST /auth/login\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 18\n" + from + "\n\nphone=%2B467012345", refused, nil},
			attack{"our account form, " + name, "POST /auth/account/others" + cookie + from, refused, nil},
			attack{"our form for a new number, " + name, "POST /auth/account/phone" + cookie + "Content-Type: application/x-www-form-urlencoded\nContent-Length: 18\n" + from + "\n\nphone=%2B467012345", refused, nil},
			attack{"its code, " + name, "POST /auth/account/phone/code" + cookie + from, refused, nil},
			attack{"a new number by the API, " + name, "POST /api/v1/auth/user/phone" + cookie + "Content-Type: application/json\nContent-Length: 24\n" + from + "\n\n{\"phone\":\"+46701234560\"}", refused, nil})
	}
	for _, method := range []string{"PUT", "PATCH", "DELETE", "PROPFIND", "get", "Options"} {
		rows = append(rows, attack{method, method + " /app" + cookie + "Sec-Fetch-Site: cross-site", refused, nil})
	}
	a.run(t, rows)
	a.run(t, []attack{{"after all that the session lives", "GET /app" + cookie, "200 cookie", nil}})
}
