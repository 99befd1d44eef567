package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Values that have the right type and say nothing that a route could use.
func TestBadValues(t *testing.T) {
	badInput(t, func(s *site, own, other tokens) {
		challenge := s.start(testA)
		verify := func(member, value string) string {
			body := map[string]json.RawMessage{"challenge_id": []byte(`"` + challenge + `"`), "code": []byte(`"424242"`)}
			body[member] = []byte(value)
			text, _ := json.Marshal(body)
			return string(text)
		}
		long := strings.Repeat("A", 15000)
		for _, row := range []struct{ path, body, code string }{
			{"/otp", `{}`, "invalid_request"},
			{"/otp", `{"phone":null}`, "invalid_request"},
			{"/otp", `{"phone":""}`, "invalid_request"},
			{"/otp", `{"PHONE":"+46701234567"}`, "invalid_request"},
			{"/otp", `{"phone":"0701234567"}`, "phone_invalid"},
			{"/otp", `{"phone":"+"}`, "phone_invalid"},
			{"/otp", `{"phone":"+46"}`, "phone_invalid"},
			{"/otp", `{"phone":"++46701234567"}`, "phone_invalid"},
			{"/otp", `{"phone":"+46701234567+46701234568"}`, "phone_invalid"},
			{"/otp", `{"phone":"+46701234567 ext. 5"}`, "phone_invalid"},
			{"/otp", `{"phone":"+46701234567;ext=5"}`, "phone_invalid"},
			{"/otp", `{"phone":"+46 FLOWERS 12"}`, "phone_invalid"},
			{"/otp", `{"phone":"+４６701234567"}`, "phone_invalid"},
			{"/otp", `{"phone":"+46701234567\u0000"}`, "phone_invalid"},
			{"/otp", `{"phone":"` + long + `"}`, "phone_invalid"},
			{"/otp", `{"phone":"+` + strings.Repeat("4", 15000) + `"}`, "phone_invalid"},
			{"/otp", `{"phone":"+99999999999"}`, "phone_invalid"},
			{"/otp", `{"phone":"+46701234567","channel":"pigeon"}`, "invalid_request"},
			{"/otp", `{"phone":"+46701234567","channel":"` + long + `"}`, "invalid_request"},
			{"/otp", `{"phone":"+46701234567","transport":"telepathy"}`, "invalid_request"},

			{"/otp/verify", `{}`, "invalid_request"},
			{"/otp/verify", `{"code":"424242"}`, "invalid_request"},
			{"/otp/verify", `{"challenge_id":"` + challenge + `"}`, "invalid_request"},
			{"/otp/verify", verify("challenge_id", `"nope"`), "otp_expired"},
			{"/otp/verify", verify("challenge_id", `"AAAAAAAAAAAAAAAAAAAAAA"`), "otp_expired"},
			{"/otp/verify", verify("challenge_id", `"../../user/1"`), "otp_expired"},
			{"/otp/verify", verify("challenge_id", `"`+challenge+`\u0000"`), "otp_expired"},
			{"/otp/verify", verify("challenge_id", `"`+long+`"`), "otp_expired"},
			{"/otp/verify", verify("code", `""`), "invalid_request"},
			{"/otp/verify", verify("code", `"42424"`), "invalid_request"},
			{"/otp/verify", verify("code", `"abcdef"`), "invalid_request"},
			{"/otp/verify", verify("code", `"４２４２４２"`), "invalid_request"},
			{"/otp/verify", verify("code", `"`+long+`"`), "invalid_request"},
			{"/otp/verify", verify("code", `424242`), "invalid_request"},
			{"/otp/verify", verify("transport", `"pigeon"`), "invalid_request"},
			{"/otp/verify", verify("device", `"phone"`), "invalid_request"},
			{"/otp/verify", verify("device", `[]`), "invalid_request"},
			{"/otp/verify", verify("device", `1`), "invalid_request"},
			{"/otp/verify", verify("device", `{"device_id":1}`), "invalid_request"},
			{"/otp/verify", verify("device", `{"device_name":["x"]}`), "invalid_request"},
			{"/otp/verify", verify("device", `{"device_id":"a","device_id":"b"}`), "invalid_request"},
			{"/otp/verify", verify("device", `{"device_id":"a\r\nX-Auth-User-Id: 1"}`), "invalid_request"},
			{"/otp/verify", verify("device", `{"device_id":"`+long[:65]+`"}`), "invalid_request"},
			{"/otp/verify", verify("device", `{"fcm_token":"`+long+`"}`), "invalid_request"},

			{"/refresh", `{}`, "refresh_token_invalid"},
			{"/refresh", `{"refresh_token":null}`, "refresh_token_invalid"},
			{"/refresh", `{"refresh_token":""}`, "refresh_token_invalid"},
			{"/refresh", `{"refresh_token":"nope"}`, "refresh_token_invalid"},
			{"/refresh", `{"refresh_token":"` + long + `"}`, "refresh_token_invalid"},
			{"/refresh", `{"refresh_token":"` + own.Access + `"}`, "refresh_token_invalid"},
			{"/refresh", `{"refresh_token":"` + own.Refresh + `="}`, "refresh_token_invalid"},
			{"/refresh", `{"refresh_token":" ` + own.Refresh + `"}`, "refresh_token_invalid"},
			{"/refresh", `{"refresh_token":"` + own.Refresh + `\n"}`, "refresh_token_invalid"},
			{"/refresh", `{"refresh_token":"` + turned(own.Refresh) + `"}`, "refresh_token_invalid"},

			{"/logout", `{"refresh_token":"nope"}`, "refresh_token_invalid"},
			{"/logout", `{"refresh_token":"` + long + `"}`, "refresh_token_invalid"},
			{"/logout", `{"refresh_token":"` + turned(own.Refresh) + `"}`, "refresh_token_invalid"},
			{"/logout", `{"refresh_token":"` + own.Refresh + `","scope":"everything"}`, "invalid_request"},
			{"/logout", `{"refresh_token":"` + own.Refresh + `","scope":"ALL"}`, "invalid_request"},
		} {
			r := s.send(asked{"POST", row.path, row.body, lines("Content-Type", "application/json")})
			refused(t, row.path+" "+row.body[:min(80, len(row.body))], r, 400, row.code)
		}
		signedIn := lines("Content-Type", "application/json", "Authorization", bearer(own))
		activity := "/session/" + own.SessionID + "/activity"
		for _, row := range []struct{ method, path, body string }{
			{"POST", activity, `{"last_activity_at":"yesterday"}`},
			{"POST", activity, `{"last_activity_at":"2026-02-31T00:00:00Z"}`},
			{"POST", activity, `{"last_activity_at":"` + long + `"}`},
			{"PUT", "/device", `{"device_id":"another"}`},
			{"PUT", "/device", `{"device_id":"` + long[:65] + `"}`},
			{"PUT", "/device", `{"fcm_token":"` + long[:4097] + `"}`},
			{"POST", "/user/phone", `{}`},
			{"POST", "/user/phone", `{"phone":null}`},
			{"POST", "/user/phone", `{"phone":"+46701234567","channel":"` + long + `"}`},
			{"POST", "/user/phone/verify", `{}`},
			{"POST", "/user/phone/verify", `{"code":"424242"}`},
			{"POST", "/user/phone/verify", `{"challenge_id":"` + challenge + `"}`},
			{"POST", "/user/phone/verify", verify("code", `"42424"`)},
			{"POST", "/user/phone/verify", verify("code", `"４２４２４２"`)},
			{"POST", "/user/phone/verify", verify("code", `424242`)},
			{"POST", "/user/phone/verify", verify("end_others", `"true"`)},
			{"POST", "/user/phone/verify", verify("end_others", `1`)},
			{"POST", "/user/phone/verify", verify("end_others", `[true]`)},
			{"POST", "/logout", `{"refresh_token":"` + other.Refresh + `"}`}, // of another session than the access token
		} {
			refused(t, row.method+" "+row.path+" "+row.body[:min(80, len(row.body))], s.send(asked{row.method, row.path, row.body, signedIn}), 400, "invalid_request")
		}
		for phone, code := range map[string]string{"0701234567": "phone_invalid", "+46": "phone_invalid", "+46701234567 ext. 5": "phone_invalid", "+46 900 12 34 56": "phone_not_supported"} {
			refused(t, "/user/phone "+phone, s.send(asked{"POST", "/user/phone", `{"phone":"` + phone + `"}`, signedIn}), 400, code)
		}
		for _, id := range []string{`nope`, `AAAAAAAAAAAAAAAAAAAAAA`, `../../user/1`, challenge + `\u0000`, long} {
			r := s.send(asked{"POST", "/user/phone/verify", verify("challenge_id", `"`+id+`"`), signedIn})
			if r.code() != "otp_expired" && r.code() != "not_found" { // test numbers keep theirs
				t.Errorf("/user/phone/verify %.80s: %d %s", id, r.status, r.body)
			}
		}
		if left := s.do("GET", apiPath+"/otp/"+challenge, nil).json(t)["attempts_left"]; left != 5.0 {
			t.Errorf("slips have cost tries: %v left", left)
		}
	})
}

// turned is a token with its last letter changed.
func turned(token string) string {
	last := byte('A')
	if token[len(token)-1] == 'A' {
		last = 'B'
	}
	return token[:len(token)-1] + string(last)
}

// Every route that needs a session refuses every credential that is none, each
// with the code that tells a client what to do.
func TestBadCredentials(t *testing.T) {
	badInput(t, func(s *site, own, _ tokens) {
		s.restart(noLimits, "public /open") // nobody is in memory
		long := strings.Repeat("A", 9<<10)
		rows := map[string]struct {
			header http.Header
			status int
			code   string
		}{
			"none":                   {lines(), 401, "token_missing"},
			"another scheme":         {lines("Authorization", "Basic eDp5"), 401, "token_missing"},
			"no token":               {lines("Authorization", "Bearer"), 401, "token_invalid"},
			"garbage":                {lines("Authorization", "Bearer nope"), 401, "token_invalid"},
			"three dots":             {lines("Authorization", "Bearer a.b.c"), 401, "token_invalid"},
			"empty parts":            {lines("Authorization", "Bearer .."), 401, "token_invalid"},
			"overlong":               {lines("Authorization", "Bearer "+long), 401, "token_invalid"},
			"overlong, three parts":  {lines("Authorization", "Bearer "+own.Access+long), 401, "token_invalid"},
			"without its signature":  {lines("Authorization", "Bearer "+own.Access[:strings.LastIndexByte(own.Access, '.')+1]), 401, "token_invalid"},
			"another last letter":    {lines("Authorization", "Bearer "+turned(own.Access)), 401, "token_invalid"},
			"a refresh token":        {lines("Authorization", "Bearer "+own.Refresh), 401, "token_invalid"},
			"two lines":              {lines("Authorization", bearer(own), "Authorization", bearer(own)), 400, "invalid_request"},
			"two lines, one foreign": {lines("Authorization", bearer(own), "Authorization", "Basic eDp5"), 400, "invalid_request"},
			"token and cookie":       {lines("Authorization", bearer(own), "Cookie", "sidegate=x"), 400, "invalid_request"},
			"garbage cookie":         {lines("Cookie", "sidegate=nope"), 401, "token_invalid"},
			"empty cookie":           {lines("Cookie", "sidegate="), 401, "token_invalid"},
			"overlong cookie":        {lines("Cookie", "sidegate="+long), 401, "token_invalid"},
			"access token as cookie": {lines("Cookie", "sidegate="+own.Access), 401, "token_invalid"},
			"refresh token as one":   {lines("Cookie", "sidegate="+own.Refresh), 401, "token_invalid"},
			"cookie twice":           {lines("Cookie", "sidegate=x; sidegate=y"), 400, "invalid_request"},
			"cookie on two lines":    {lines("Cookie", "sidegate=x", "Cookie", "sidegate=x"), 400, "invalid_request"},
		}
		for _, route := range routesFor(own) {
			if !route.needs {
				continue
			}
			for name, row := range rows {
				header := row.header.Clone()
				if route.body != "" {
					header.Set("Content-Type", "application/json")
				}
				refused(t, route.method+" "+route.path+", "+name, s.send(asked{route.method, route.path, route.body, header}), row.status, row.code)
			}
		}
		for name, row := range rows {
			// Whoever holds a refresh token, wherever he puts it, may end its session;
			// and of two credentials each one is looked at.
			if name == "refresh token as one" || name == "token and cookie" {
				continue
			}
			header := row.header.Clone()
			header.Set("Content-Type", "application/json")
			refused(t, "POST /logout, "+name, s.send(asked{"POST", "/logout", "{}", header}), row.status, row.code)
		}
		refused(t, "POST /refresh, garbage cookie", s.send(asked{"POST", "/refresh", "{}", lines("Content-Type", "application/json", "Cookie", "sidegate=nope")}), 400, "refresh_token_invalid")
		refused(t, "POST /refresh, both", s.send(asked{"POST", "/refresh", `{"refresh_token":"x"}`, lines("Content-Type", "application/json", "Cookie", "sidegate=nope")}), 400, "invalid_request")
	})
}

// What is nobody's, and what is somebody else's, is the same: not found.
func TestUnknownIDs(t *testing.T) {
	badInput(t, func(s *site, own, other tokens) {
		ids := map[string]string{
			"unknown": "AAAAAAAAAAAAAAAAAAAAAA", "another user's": other.SessionID, "garbage": "nope", "overlong": strings.Repeat("A", 5000), "a number": "1",
			"one letter more": own.SessionID + "A", "one less": own.SessionID[:21], "odd letters": "%00%ff", "markup": "%3Cscript%3E", "spaces": "%20",
			"a store's key": "user%2F1", "same bits, other letter": turned(own.SessionID),
		}
		for name, id := range ids {
			for _, route := range []asked{
				{"GET", "/session/" + id, "", nil},
				{"POST", "/session/" + id + "/activity", "{}", nil},
				{"DELETE", "/sessions/" + id, "", nil},
				{"GET", "/otp/" + id, "", nil},
			} {
				route.header = lines("Authorization", bearer(own))
				if route.body != "" {
					route.header.Set("Content-Type", "application/json")
				}
				refused(t, route.method+" "+route.path[:min(60, len(route.path))]+", "+name, s.send(route), 404, "not_found")
			}
		}
	})
}

// No page of another site can change anything here, whatever it may send.
func TestCrossOriginRequests(t *testing.T) {
	badInput(t, func(s *site, own, _ tokens) {
		for _, route := range routesFor(own) {
			if route.method == "GET" {
				continue
			}
			for name, from := range map[string]http.Header{
				"another site":         lines("Sec-Fetch-Site", "cross-site"),
				"a sister site":        lines("Sec-Fetch-Site", "same-site"),
				"another origin":       lines("Origin", "https://evil.example"),
				"a sandboxed page":     lines("Origin", "null"),
				"another port":         lines("Origin", "http://127.0.0.1:1"),
				"two claims":           lines("Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"),
				"a name that we begin": lines("Origin", s.url("")+".evil.example"),
			} {
				from.Set("Authorization", bearer(own))
				if route.body != "" {
					from.Set("Content-Type", "application/json")
				}
				refused(t, route.method+" "+route.path+" from "+name, s.send(asked{route.method, route.path, route.body, from}), 403, "cross_origin_blocked")
			}
		}
	})
}
