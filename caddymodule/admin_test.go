package caddymodule_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
)

// office is a site whose admin endpoint is open to the test.
type office struct {
	*site
	address string // as --address has it
	door    *http.Client
	host    string

	mu   sync.Mutex
	told []auth.Event
}

// newOffice prepares a site with its admin endpoint at an address: a path is a
// unix socket.
func newOffice(t *testing.T, address string) *office {
	o := &office{site: newSite(t), address: address, host: address}
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network, o.address, o.host = "unix", "unix/"+address, "localhost"
	}
	o.door = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
	t.Cleanup(o.door.CloseIdleConnections)
	return o
}

// socket is a short path: the kernel takes 107 bytes.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "admin")
}

// config is the site's, with the endpoint on.
func (o *office) config(global, gate string) string {
	return strings.Replace(o.site.config(global, gate, ""), "admin off", "admin "+o.address, 1)
}

func startOffice(t *testing.T, address, global string) *office {
	t.Helper()
	o := newOffice(t, address)
	o.load(o.config(global, "require /admin/* role admin"))
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	caddymodule.Overhear(t, func(e auth.Event) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.told = append(o.told, e)
	})
	return o
}

// heard hands out what operators' acts have told since the last call.
func (o *office) heard() (acts []auth.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.told {
		if e.By != "" {
			acts = append(acts, e)
		}
	}
	o.told = nil
	return acts
}

// ask makes a request to the admin endpoint. Headers come in pairs.
func (o *office) ask(method, path, body string, headers ...string) reply {
	o.t.Helper()
	req, err := http.NewRequest(method, "http://"+o.host+"/sidegate/"+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := o.door.Do(req)
	if err != nil {
		o.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, text}
}

// order is a request of an operator.
type order struct {
	method, path, body string
	status             int
	says               string // stands in the answer; of a problem, its code
	told               auth.EventName
}

// orders are one of each route, in an order that makes sense. {session} is one
// of user 1.
var orders = []order{
	{"GET", "users", "", 200, `"phone":"+•••••••••67"`, ""},
	{"POST", "users", `{"auth_user_id":4711,"phone":"+46 70 999 88 77","user_roles":["vip"]}`, 201, `"auth_user_id":4711`, "user_created"},
	{"POST", "users", `{"phone":"+46709998876"}`, 201, `"auth_user_id":4712`, "user_created"},
	{"POST", "users/find", `{"phone":"+46709998877"}`, 200, `"auth_user_id":4711`, ""},
	{"GET", "users/4711", "", 200, `"user_roles":["vip"]`, ""},
	{"GET", "users?limit=1", "", 200, `"next":"`, ""}, // which one is first is the store's own matter
	{"GET", "users?role=vip", "", 200, `"auth_user_id":4711`, ""},
	{"PATCH", "users/1", `{"user_roles":["customer","admin"]}`, 200, `"user_roles":["customer","admin"]`, "user_changed"},
	{"PATCH", "users/1", `{"user_type":"staff"}`, 200, `"user_type":"staff"`, "user_changed"},
	{"PATCH", "users/1", `{"user_type":"staff"}`, 200, `"user_type":"staff"`, ""},
	{"POST", "users/1/unlock", `{}`, 204, "", "user_unlocked"},
	{"POST", "users/1/reopen", `{}`, 200, `"auth_user_id":1`, "user_reopened"},
	{"POST", "unlock", `{"phone":"+46701234567"}`, 204, "", ""},
	{"GET", "users/1/sessions", "", 200, "{session}", ""},
	{"GET", "sessions/{session}", "", 200, `"is_active":true`, ""},
	{"POST", "sessions/{session}/revoke", `{}`, 204, "", "sessions_revoked"},
	{"GET", "sessions/{session}", "", 200, `"end_reason":"revoked"`, ""},
	{"GET", "users/1/devices", "", 200, `"device_id":"laptop"`, ""},
	{"GET", "users/1/devices?limit=1", "", 200, `"next":"`, ""},
	{"POST", "users/1/devices/delete", `{"device_id":"laptop"}`, 204, "", "device_deleted"},
	{"POST", "users/1/sessions/revoke", `{}`, 204, "", "sessions_revoked"},
	{"POST", "users/1/ban", `{"reason":"spam","until":"2099-01-01T00:00:00Z"}`, 200, `"ban_reason":"spam","banned_until":"2099-01-01T00:00:00Z"`, "user_banned"},
	{"GET", "users?banned=true", "", 200, `"auth_user_id":1`, ""},
	{"POST", "users/1/unban", `{}`, 200, `"banned":false`, "user_unbanned"},
	{"POST", "sessions/revoke-all", `{}`, 204, "", "sessions_revoked"},
	{"DELETE", "users/4711", "", 204, "", "user_deleted"},
	{"POST", "users/import?dry_run=true", `{"phone":"+46709998875","auth_user_id":4713}`, 200, `"created":1`, ""},
	{"POST", "users/import", `{"phone":"+46709998875","auth_user_id":4713}`, 200, `"created":1`, "users_imported"},
	{"DELETE", "users/4713", "", 204, "", "user_deleted"},
	{"GET", "users/export", "", 200, `"auth_user_id":4712`, "users_exported"},
	{"GET", "users/1/export", "", 200, `"end_reason":"revoked"`, "user_exported"},
	{"POST", "backup", `{"passphrase":"correct horse battery"}`, 200, "age-encryption.org/v1", "backup_made"},
	{"POST", "blocks", `{"prefix":"+4673","reason":"pumping"}`, 204, "", "block_added"},
	{"POST", "blocks", `{"country":"no"}`, 204, "", "block_added"},
	{"GET", "blocks", "", 200, `"country":"NO"`, ""},
	{"POST", "blocks/remove", `{"prefix":"+4673"}`, 204, "", "block_removed"},
	{"GET", "keys", "", 200, `"signs":true`, ""},
	{"POST", "keys/rotate", `{}`, 200, `"signs":false`, "keys_rotated"},
	{"GET", "keys/master", "", 200, `"in_use":true`, ""},
	{"POST", "keys/master", `{}`, 200, `"in_use":false`, "master_key_added"},
	{"POST", "keys/master/retire", `{}`, 200, `"in_use":true`, "master_keys_retired"},
	{"POST", "keys/rotate", `{"revoke":true}`, 200, `"signs":true`, "keys_rotated"},
	{"GET", "migrate", "", 404, `"not_found"`, ""},
	{"POST", "migrate", `{"store":{"engine":"badger","path":"{dir}/elsewhere"},"master_key":"{file.{dir}/store/master.key}"}`, 200, `"to":"badger {dir}/elsewhere"`, "store_move_started"},
	{"GET", "migrate", "", 200, `"phase":"`, ""},
	{"POST", "migrate/cancel", `{}`, 200, `"phase":"stopped"`, "store_move_ended"},
	{"GET", "stats", "", 200, `"users":2`, ""},
	{"GET", "audit/head", "", 200, `"hash":"`, ""},
	{"GET", "doctor", "", 200, `"check":"file modes","state":"ok"`, ""},
}

// people signs user 1 in, on two devices, and tries a wrong code.
func (o *office) people() *strings.Replacer {
	signIn := func(device string) string {
		challenge := o.start("+46701234567")
		return o.tokens(o.do("POST", apiPath+"/otp/verify", map[string]any{
			"challenge_id": challenge, "code": o.codeOf(challenge), "device": map[string]any{"device_id": device},
		})).SessionID
	}
	session := signIn("phone")
	signIn("laptop")
	challenge := o.start("+46701234567")
	code := o.codeOf(challenge)
	wrong := string('0'+(code[0]-'0'+1)%10) + code[1:]
	wants(o.t, "a wrong code", o.do("POST", apiPath+"/otp/verify", map[string]any{"challenge_id": challenge, "code": wrong}), 400, "otp_invalid")
	return strings.NewReplacer("{session}", session, "{dir}", o.dir)
}

// Every route, against a running Caddy: what it answers, and that what it
// changes is told once, with who, before and after.
func TestAdminRoutes(t *testing.T) {
	routes, driven := adminRoutes(t), map[string]bool{}
	for name, address := range map[string]string{"unix": socket(t), "127.0.0.1": freeAddress(t)} {
		o := startOffice(t, address, plenty)
		fill := o.people()
		o.heard()
		for _, order := range orders {
			what := name + ": " + order.method + " " + order.path
			media := "application/json"
			if strings.HasPrefix(order.path, "users/import") {
				media = "application/x-ndjson"
			}
			r := o.ask(order.method, fill.Replace(order.path), fill.Replace(order.body), "Sidegate-By", "anna", "Content-Type", media)
			if r.status != order.status || !strings.Contains(string(r.body), fill.Replace(order.says)) || r.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %s", what, r.status, r.body)
			}
			o.checkTold(what, order, "anna@"+name)
			driven[routes.of(order)] = true
		}
		o.checkAudit("anna@" + name)
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	routes.wantAll(t, driven, "is not driven here")
	documented := map[string]bool{}
	for _, route := range documentedRoutes(t) {
		documented[route] = true
	}
	routes.wantAll(t, documented, "is not in docs/admin.md")
}

func (o *office) checkTold(what string, order order, by string) {
	o.t.Helper()
	acts := o.heard()
	if order.told == "" && len(acts) == 0 {
		return
	}
	if len(acts) != 1 || acts[0].Name != order.told || acts[0].By != by || !toldWhole(acts[0]) {
		o.t.Errorf("%s: told %+v, want %s", what, acts, order.told)
		return
	}
	text, err := json.Marshal(acts[0])
	if err != nil || strings.Contains(string(text), "+4670") {
		o.t.Errorf("%s: told with a number, or not as JSON: %s %v", what, text, err)
	}
}

// checkAudit fails unless every act left an audit line, with who it was, what
// there was before, and what there is then.
func (o *office) checkAudit(by string) {
	o.t.Helper()
	var want []string
	for _, order := range orders {
		if order.told != "" {
			want = append(want, string(order.told))
		}
	}
	if got := o.auditLines(by); !slices.Equal(got, want) {
		o.t.Errorf("audit lines: %v, want %v", got, want)
	}
}

// auditLines are the names of the audit's lines about those whose name begins
// so, with what there was before and what there is then.
func (o *office) auditLines(by string) (names []string) {
	o.t.Helper()
	log, err := os.ReadFile(filepath.Join(o.dir, "caddy.log"))
	if err != nil {
		o.t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		var entry struct{ Audit auth.Event }
		if json.Unmarshal([]byte(line), &entry) == nil && strings.HasPrefix(entry.Audit.By, by) && toldWhole(entry.Audit) {
			names = append(names, string(entry.Audit.Name))
		}
	}
	return names
}

// documentedRoutes are the routes in the first column of docs/admin.md.
func documentedRoutes(t *testing.T) (routes []string) {
	t.Helper()
	for line := range strings.Lines(readPage(t, "../docs/admin.md")) {
		cell, is := strings.CutPrefix(line, "| `")
		route, _, _ := strings.Cut(cell, "`")
		method, path, spaced := strings.Cut(route, " ")
		if is && spaced && slices.Contains([]string{"GET", "POST", "PATCH", "DELETE"}, method) {
			routes = append(routes, method+" "+strings.ReplaceAll(path, "{session_id}", "{session}"))
		}
	}
	if len(routes) == 0 {
		t.Fatal("docs/admin.md has no routes")
	}
	return routes
}

func TestAdminRoutesWithWrongInput(t *testing.T) {
	o := startOffice(t, socket(t), plenty)
	o.people()
	o.heard()
	session := "users/1/ban"
	rows := []order{
		{"GET", "users/1?verbose=true", "", 400, "invalid_request", ""},
		{"DELETE", "users/1?dry_run=true", "", 400, "invalid_request", ""},
		{"POST", "sessions/revoke-all?dry_run=true", `{}`, 400, "invalid_request", ""},
		{"GET", "blocks?country=NO", "", 400, "invalid_request", ""},
		{"GET", "keys?limit=1", "", 400, "invalid_request", ""},
		{"GET", "stats?x=1", "", 400, "invalid_request", ""},
		{"GET", "audit/head?x=1", "", 400, "invalid_request", ""},
		{"GET", "doctor?x=%zz", "", 400, "invalid_request", ""},
		{"GET", "keys/master?limit=1", "", 400, "invalid_request", ""},
		{"POST", "users/import?dry_run=false", `{"phone":"+46709998875"}`, 400, "invalid_request", ""},
		{"POST", "users/import?dry=true", `{"phone":"+46709998875"}`, 400, "invalid_request", ""},
		{"GET", "users/export?limit=1", "", 400, "invalid_request", ""},
		{"GET", "users/99/export", "", 404, "not_found", ""},
		{"GET", "users/1/export?all=true", "", 400, "invalid_request", ""},
		{"GET", "migrate?x=1", "", 400, "invalid_request", ""},
		{"POST", "migrate", `{}`, 400, "invalid_request", ""},
		{"POST", "migrate", `{"store":"badger"}`, 400, "invalid_request", ""},
		{"POST", "migrate", `{"store":{"engine":"nothing"}}`, 400, "invalid_request", ""},
		{"POST", "migrate", `{"store":{"engine":"badger","pth":"/nowhere"}}`, 400, "invalid_request", ""},
		{"POST", "migrate", `{"store":{"engine":"badger","path":"` + o.store() + `"}}`, 400, "invalid_request", ""},
		{"POST", "migrate", `{"store":{"engine":"badger","path":"/dev/null/x"},"master_key":"{file.` + o.store() + `/master.key}"}`, 400, "invalid_request", ""},
		{"POST", "migrate", `{"master_key":"{env.NOT_SET}"}`, 400, "invalid_request", ""},
		{"POST", "migrate", `{"master_key_exec":{"command":[]}}`, 400, "invalid_request", ""},
		{"POST", "migrate", `{"master_key_exec":"x"}`, 400, "invalid_request", ""},
		{"POST", "migrate", "", 415, "unsupported_media_type", ""},
		{"POST", "migrate/cancel", `{}`, 400, "invalid_request", ""},
		{"POST", "migrate/cancel", `{"x":1}`, 400, "invalid_request", ""},
		{"POST", "backup", `{}`, 400, "invalid_request", ""},
		{"POST", "backup", `{"passphrase":"short"}`, 400, "invalid_request", ""},
		{"POST", "backup", `{"recipient":"age1","passphrase":"correct horse battery"}`, 400, "invalid_request", ""},
		{"POST", "backup?recipient=age1", `{"passphrase":"correct horse battery"}`, 400, "invalid_request", ""},
		{"POST", "users/find", `{"phone":"12345"}`, 400, "phone_invalid", ""},
		{"GET", "users/x", "", 400, "invalid_request", ""},
		{"GET", "users/0", "", 400, "invalid_request", ""},
		{"GET", "users/01", "", 400, "invalid_request", ""},
		{"GET", "users/-1", "", 400, "invalid_request", ""},
		{"GET", "users/18446744073709551616", "", 400, "invalid_request", ""},
		{"GET", "users/99", "", 404, "not_found", ""},
		{"GET", "users?limit=0", "", 400, "invalid_request", ""},
		{"GET", "users?limit=1001", "", 400, "invalid_request", ""},
		{"GET", "users?limit=x", "", 400, "invalid_request", ""},
		{"GET", "users?limit=1&limit=2", "", 400, "invalid_request", ""},
		{"GET", "users?after=x", "", 400, "invalid_request", ""},
		{"GET", "users?banned=maybe", "", 400, "invalid_request", ""},
		{"GET", "users?sort=phone", "", 400, "invalid_request", ""},
		{"GET", "users?%zz", "", 400, "invalid_request", ""},
		{"GET", "nothing", "", 404, "not_found", ""},
		{"GET", "", "", 404, "not_found", ""},
		{"PUT", "users/1", `{}`, 405, "method_not_allowed", ""},
		{"DELETE", "users", "", 405, "method_not_allowed", ""},
		{"GET", "users/1/ban", "", 405, "method_not_allowed", ""},
		{"POST", "stats", `{}`, 405, "method_not_allowed", ""},

		{"POST", "users", `{"phone":"12345"}`, 400, "phone_invalid", ""},
		{"POST", "users", `{}`, 400, "phone_invalid", ""},
		{"POST", "users", `{"phone":"+46701234567"}`, 409, "phone_taken", ""},
		{"POST", "users", `{"auth_user_id":1,"phone":"+46709998877"}`, 409, "user_exists", ""},
		{"POST", "users", `{"auth_user_id":"1","phone":"+46709998877"}`, 400, "invalid_request", ""},
		{"POST", "users", `{"auth_user_id":-1,"phone":"+46709998877"}`, 400, "invalid_request", ""},
		{"POST", "users", `{"phone":"+46709998877","user_roles":["a,b"]}`, 400, "invalid_request", ""},
		{"POST", "users", `{"phone":"+46709998877","claims":{}}`, 400, "invalid_request", ""},
		{"POST", "users", `{"phone":"+46709998877","phone":"+46701234567"}`, 400, "invalid_request", ""},
		{"POST", "users", `{"PHONE":"+46709998877"}`, 400, "invalid_request", ""},
		{"POST", "users", `{"phone":"+46709998877"} {}`, 400, "invalid_request", ""},
		{"POST", "users", `{"phone":"+46709998877"`, 400, "invalid_request", ""},
		{"POST", "users", `["+46709998877"]`, 400, "invalid_request", ""},
		{"POST", "users", "{\"phone\":\"\xff\"}", 400, "invalid_request", ""},
		{"POST", "users", `{"phone":"` + strings.Repeat("1", 17<<10) + `"}`, 413, "body_too_large", ""},
		{"POST", "users", "", 415, "unsupported_media_type", ""},
		{"POST", "users/find", `{"phone":"+46709998877"}`, 404, "not_found", ""},

		{"PATCH", "users/1", `{}`, 400, "invalid_request", ""},
		{"PATCH", "users/1", `{"user_type":""}`, 400, "invalid_request", ""},
		{"PATCH", "users/99", `{"user_type":"a"}`, 404, "not_found", ""},
		{"POST", session, `{"until":"tomorrow"}`, 400, "invalid_request", ""},
		{"POST", session, `{"until":"2001-01-01T00:00:00Z"}`, 400, "invalid_request", ""},
		{"POST", session, `{"reason":"a\nb"}`, 400, "invalid_request", ""},
		{"POST", session, `{"reason":"\u202eb"}`, 400, "invalid_request", ""},
		{"POST", session, `{"reason":"` + strings.Repeat("x", 201) + `"}`, 400, "invalid_request", ""},
		{"POST", session, "", 415, "unsupported_media_type", ""},
		{"POST", "users/99/ban", `{}`, 404, "not_found", ""},
		{"POST", "users/99/unban", `{}`, 404, "not_found", ""},
		{"POST", "users/1/unban", `{"x":1}`, 400, "invalid_request", ""},
		{"POST", "users/99/unlock", `{}`, 404, "not_found", ""},
		{"POST", "users/99/reopen", `{}`, 404, "not_found", ""},
		{"POST", "users/x/reopen", `{}`, 400, "invalid_request", ""},
		{"POST", "users/x/unlock", `{}`, 400, "invalid_request", ""},
		{"POST", "unlock", `{"phone":"x"}`, 400, "phone_invalid", ""},
		{"DELETE", "users/99", "", 404, "not_found", ""},
		{"DELETE", "users/x", "", 400, "invalid_request", ""},

		{"GET", "users/99/sessions", "", 404, "not_found", ""},
		{"GET", "users/x/sessions", "", 400, "invalid_request", ""},
		{"POST", "users/99/sessions/revoke", `{}`, 404, "not_found", ""},
		{"POST", "users/1/sessions/revoke", "", 415, "unsupported_media_type", ""},
		{"GET", "sessions/x", "", 400, "invalid_request", ""},
		{"GET", "sessions/AAAAAAAAAAAAAAAAAAAAAA", "", 404, "not_found", ""},
		{"POST", "sessions/AAAAAAAAAAAAAAAAAAAAAA/revoke", `{}`, 404, "not_found", ""},
		{"POST", "sessions/x/revoke", `{}`, 400, "invalid_request", ""},
		{"POST", "sessions/revoke-all", `{"user":1}`, 400, "invalid_request", ""},
		{"GET", "users/99/devices", "", 404, "not_found", ""},
		{"GET", "users/x/devices", "", 400, "invalid_request", ""},
		{"GET", "users/1/devices?limit=x", "", 400, "invalid_request", ""},
		{"GET", "users/1/devices?x=1", "", 400, "invalid_request", ""},
		{"POST", "users/1/devices/delete", `{}`, 400, "invalid_request", ""},
		{"POST", "users/1/devices/delete", `{"device_id":"none"}`, 404, "not_found", ""},
		{"POST", "users/99/devices/delete", `{"device_id":"none"}`, 404, "not_found", ""},

		{"POST", "blocks", `{}`, 400, "invalid_request", ""},
		{"POST", "blocks", `{"country":"XX"}`, 400, "invalid_request", ""},
		{"POST", "blocks", `{"country":"NO","prefix":"+47"}`, 400, "invalid_request", ""},
		{"POST", "blocks", `{"prefix":"0046"}`, 400, "invalid_request", ""},
		{"POST", "blocks", `{"prefix":"+46701234567"}`, 400, "invalid_request", ""},
		{"POST", "blocks", `{"prefix":"+46","reason":"\u0007"}`, 400, "invalid_request", ""},
		{"POST", "blocks", "", 415, "unsupported_media_type", ""},
		{"POST", "blocks/remove", `{"country":"NO"}`, 404, "not_found", ""},
		{"POST", "blocks/remove", `{"country":"NO","reason":"x"}`, 400, "invalid_request", ""},
		{"POST", "blocks/remove", `{"country":1}`, 400, "invalid_request", ""},
		{"POST", "keys/rotate", "", 415, "unsupported_media_type", ""},
		{"POST", "keys/rotate", `{"revoke":"yes"}`, 400, "invalid_request", ""},
		{"POST", "keys/rotate", `{"kid":"x"}`, 400, "invalid_request", ""},
		{"POST", "keys/master", "", 415, "unsupported_media_type", ""},
		{"POST", "keys/master", `{"new_key":1}`, 400, "invalid_request", ""},
		{"POST", "keys/master", `{"new_key":"` + strings.Repeat("0", 64) + `"}`, 400, "invalid_request", ""},
		{"POST", "keys/master", `{"new_key":"` + strings.Repeat("0a", 31) + `"}`, 400, "invalid_request", ""},
		{"PUT", "keys/master", `{}`, 405, "method_not_allowed", ""},
		{"POST", "keys/master/retire", "", 415, "unsupported_media_type", ""},
		{"POST", "keys/master/retire", `{"fingerprint":"x"}`, 400, "invalid_request", ""},
		{"GET", "keys/master/retire", "", 405, "method_not_allowed", ""},
	}
	routes, driven := adminRoutes(t), map[string]bool{}
	for _, row := range rows {
		driven[routes.of(row)] = true
		r := o.ask(row.method, row.path, row.body)
		wants(t, row.method+" "+row.path+" "+row.body, r, row.status, row.says)
		if r.header.Get("Content-Type") != "application/problem+json" || r.status == 405 && r.header.Get("Allow") == "" {
			t.Errorf("%s %s: %v", row.method, row.path, r.header)
		}
	}
	routes.wantAll(t, driven, "is not driven with wrong input")
	if acts := o.heard(); acts != nil {
		t.Errorf("told %+v", acts)
	}
}

// Attack: a page that an operator has open acts in their place. Caddy lets the
// endpoint's own origin through, and origins that it was told of.
func TestBrowsersChangeNothing(t *testing.T) {
	o := startOffice(t, freeAddress(t), plenty)
	fill := o.people()
	o.heard()
	for _, order := range orders {
		if order.method == "GET" {
			continue
		}
		for _, headers := range [][]string{
			{"Origin", "http://" + o.host},
			{"Origin", "http://" + o.host, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"},
			{"Sec-Fetch-Site", "none"},
			{"Sec-Fetch-Dest", "empty"},
		} {
			r := o.ask(order.method, fill.Replace(order.path), order.body, headers...)
			wants(t, order.method+" "+order.path+" from a browser", r, 403, "cross_origin_blocked")
		}
	}
	wants(t, "a form", o.ask("POST", "sessions/revoke-all", "{}", "Content-Type", "text/plain"), 415, "unsupported_media_type")
	wants(t, "another origin", o.ask("POST", "sessions/revoke-all", "{}", "Origin", "https://evil.example"), 403, "")
	if acts := o.heard(); acts != nil {
		t.Errorf("told %+v", acts)
	}
	wants(t, "reading, from the endpoint's own origin", o.ask("GET", "users", "", "Origin", "http://"+o.host), 200, "")
}

// After a reload that failed, Caddy's endpoint serves the routes that it made
// for the configuration that failed: they must show the one in use.
func TestAdminRoutesAfterAFailedReload(t *testing.T) {
	o := startOffice(t, socket(t), plenty)
	o.people()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	bad := strings.Replace(o.config(plenty, ""), "http://"+o.site.address, "http://"+busy.Addr().String(), 1)
	if err := caddy.Load(adapt(t, strings.Replace(bad, filepath.Join(o.dir, "store"), filepath.Join(o.dir, "other"), 1)), true); err == nil {
		t.Fatal("the reload should have failed")
	}
	wants(t, "a user of the store in use", o.ask("GET", "users/1", ""), 200, "")
	o.load(o.config(plenty, "public /x"))
	wants(t, "after a reload that worked", o.ask("GET", "users/1", ""), 200, "")
	o.load("{\n admin " + o.address + "\n persist_config off\n}\nhttp://" + o.site.address + " {\n respond hello\n}")
	wants(t, "without sidegate", o.ask("GET", "users/1", ""), 404, "not_found")
}

// The log of the endpoint has no number in it, whatever operators ask for.
func TestAdminLogHasNoNumbers(t *testing.T) {
	o := startOffice(t, socket(t), plenty)
	fill := o.people()
	for _, order := range orders {
		o.ask(order.method, fill.Replace(order.path), order.body)
	}
	log, err := os.ReadFile(filepath.Join(o.dir, "caddy.log"))
	if err != nil || !strings.Contains(string(log), "/sidegate/users/find") {
		t.Fatalf("no log: %v", err)
	}
	for _, number := range []string{"46701234567", "46709998877"} {
		if strings.Contains(string(log), number) {
			t.Errorf("%s is in the log", number)
		}
	}
}
