package caddymodule_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const plantedCSV = "\ufeffauth_user_id,phone,user_roles,created_at,banned\r\n" +
	"10,+46 70 174 06 01,\"vip,beta\",2020-01-01T00:00:00Z,\r\n" + // 2
	"11,+46-701740602,,,true\r\n" +
	"12,0701740603,,,\r\n" + // 4: no country
	"13,+46701740601,,,\r\n" + // 5: line 2 in another spelling
	"\r\n" +
	"2,+46701740604,,,\r\n" + // 7: the id is a user's
	"14,+46701740699,,,\r\n" + // 8: the number is user 2's
	"9007199254740993,+46701740605,,,\r\n" + // 9: not exact
	"016,+46701740606,,,\r\n" + // 10
	"17,+46701740607,a;b,,\r\n" + // 11
	"18,+46701740608,,yesterday,\r\n" + // 12
	"19,+46701740609\r\n" + // 13
	"20,+46701740610,,,maybe\r\n" + // 14
	",+46701740611,,,\r\n" + // 15
	"10,+46701740612,,,\r\n" + // 16
	"1,+46701234567,,,\r\n" // as it is

var plantedConflicts = []string{
	"line 10: id_invalid", "line 11: role_invalid", "line 12: date_invalid", "line 13: line_invalid", "line 14: line_invalid",
	"line 15: id_invalid", "line 16: id_repeated", "line 4: phone_invalid", "line 5: phone_repeated",
	"line 7: user_exists", "line 8: phone_taken", "line 9: id_invalid",
}

// conflictsIn reads what the command prints.
func conflictsIn(out string) (conflicts []string) {
	for line := range strings.Lines(out) {
		where, rest, is := strings.Cut(strings.TrimSpace(line), ": ")
		if !is || !strings.HasPrefix(where, "line ") {
			continue
		}
		code := rest[strings.LastIndex(rest, "(")+1 : len(rest)-1]
		conflicts = append(conflicts, where+": "+code)
	}
	slices.Sort(conflicts)
	return conflicts
}

func TestImportOfAFile(t *testing.T) {
	o := startOffice(t, socket(t), plenty)
	o.people()
	o.signIn("+46701740699") // user 2
	file := filepath.Join(o.dir, "users.csv")
	if err := os.WriteFile(file, []byte(plantedCSV), 0o600); err != nil {
		t.Fatal(err)
	}
	o.heard()
	for _, row := range []struct {
		args []string
		says string
	}{
		{[]string{"--dry-run"}, "15 lines: 2 users would be new, 1 as they were, 12 conflicts."},
		{nil, "15 lines: 2 users new, 1 as they were, 12 conflicts."},
		{nil, "15 lines: 0 users new, 3 as they were, 12 conflicts."},
		{[]string{"--format", "csv", "--dry-run"}, "15 lines: 0 users would be new, 3 as they were, 12 conflicts."},
	} {
		out, errs, err := run(append([]string{"users", "import", file, "--address", o.address}, row.args...)...)
		if got := conflictsIn(out); !slices.Equal(got, plantedConflicts) {
			t.Errorf("%v: got %v, want %v", row.args, got, plantedConflicts)
		}
		if err == nil || !strings.Contains(out, row.says) || !strings.Contains(errs, "in conflict") {
			t.Errorf("%v: %v %s%s", row.args, err, out, errs)
		}
	}
	if acts := o.heard(); len(acts) != 1 || acts[0].Name != "users_imported" || acts[0].UserID != 11 {
		t.Errorf("told %+v", acts)
	}
	wants(t, "an imported user", o.ask("GET", "users/10", ""), 200, "")
	if r := o.ask("GET", "users/10", ""); !strings.Contains(string(r.body), `"user_roles":["vip","beta"],"created_at":"2020-01-01T00:00:00Z"`) {
		t.Errorf("got %s", r.body)
	}
	if r := o.ask("GET", "users/11", ""); !strings.Contains(string(r.body), `"user_roles":["customer"]`) {
		t.Errorf("a line that says nothing of roles: %s", r.body)
	}
	// What is exported can be imported: it changes nothing.
	out, _, err := run("users", "export", "--address", o.address)
	if err != nil || strings.Count(out, "\n") != 4 || !strings.Contains(out, `"banned":true`) {
		t.Errorf("%v %s", err, out)
	}
	again := filepath.Join(o.dir, "users.ndjson")
	if err := os.WriteFile(again, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, err := run("users", "import", again, "--address", o.address, "--json"); err != nil || !strings.Contains(out, `"created":0,"unchanged":4,"conflicts":0`) {
		t.Errorf("%v %s%s", err, out, errs)
	}
}

func TestExportOfAPerson(t *testing.T) {
	o := startOffice(t, socket(t), plenty)
	o.people()
	own := o.signIn("+46701234567")
	o.do("PUT", apiPath+"/device", map[string]any{"fcm_token": "push-secret"}, "Authorization", bearer(own))
	wants(t, "logout", o.do("POST", apiPath+"/logout", nil, "Authorization", bearer(own)), 204, "")
	o.signIn("+46701740605") // somebody else
	out, errs, err := run("users", "export", "+46701234567", "--address", o.address)
	if err != nil {
		t.Fatal(err, errs)
	}
	for _, want := range []string{`"phone":"+46701234567"`, `"device_id":"laptop"`, `"end_reason":"logout"`, `"phone_sends":["`, `"phone_failures":["`, own.SessionID} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in %s", want, out)
		}
	}
	for _, not := range []string{"push-secret", own.Access, own.Refresh, "740605"} {
		if strings.Contains(out, not) {
			t.Errorf("%s is in the export", not)
		}
	}
	if _, errs, err := run("users", "export", "99", "--address", o.address); err == nil || !strings.Contains(errs, "not_found") {
		t.Errorf("%v %s", err, errs)
	}
}

func TestImportsWithWrongInput(t *testing.T) {
	o := startOffice(t, socket(t), plenty)
	for _, row := range []struct {
		path, media, body string
		status            int
		says              string
	}{
		{"users/import", "application/json", "{}", 415, "unsupported_media_type"},
		{"users/import?dry_run=maybe", "text/csv", "phone\n", 400, "invalid_request"},
		{"users/import?dry=true", "text/csv", "phone\n", 400, "invalid_request"},
		{"users/import", "text/csv", "name\n", 400, "phone among them"},
		{"users/import", "text/csv", "phone,phone\n", 400, "given twice"},
		{"users/import", "text/csv", "phone,Banned\n", 400, "unknown"},
		{"users/import", "text/csv", "", 400, "phone among them"},
		{"users/import", "text/csv", "phone\n", 200, `"lines":0`},
		{"users/import", "application/x-ndjson", " ", 200, `"done":true`},
		{"users/import", "application/x-ndjson", `{"phone":"+46701234567","PHONE":"x"}`, 200, "line_invalid"},
		{"users/import", "application/x-ndjson", `{"phone":"+46701234567","auth_user_id":"7"}`, 200, "id_invalid"},
		{"users/import", "application/x-ndjson", `{"phone":"+46701234567","auth_user_id":7.0}`, 200, "id_invalid"},
		{"users/import", "application/x-ndjson", `{"phone":"+46701234567","auth_user_id":1e3}`, 200, "id_invalid"},
		{"users/import", "application/x-ndjson", `{"phone":"+46701234567","x":"` + strings.Repeat("x", 100<<10) + `"}`, 200, "longer than 16 KiB"},
		{"backup", "text/plain", "{}", 415, "unsupported_media_type"},
		{"backup", "application/json", "{}", 400, "name a recipient or a passphrase"},
		{"backup", "application/json", `{"recipient":"age1"}`, 400, "no public key"},
		{"backup", "application/json", `{"key":"age1"}`, 400, "invalid_request"},
	} {
		r := o.ask("POST", row.path, row.body, "Content-Type", row.media)
		if r.status != row.status || !strings.Contains(string(r.body), row.says) {
			t.Errorf("%s %.60s: %d %s", row.path, row.body, r.status, r.body)
		}
	}
	for _, path := range []string{"users/import", "backup"} {
		wants(t, path+" from a page", o.ask("POST", path, "{}", "Origin", "https://evil.example"), 403, "")
		wants(t, "PUT "+path, o.ask(http.MethodPut, path, "{}"), 405, "")
	}
	wants(t, "an export of nobody", o.ask("GET", "users/99/export", ""), 404, "not_found")
	wants(t, "an export with a question", o.ask("GET", "users/export?x=1", ""), 400, "invalid_request")
	for _, row := range []struct{ args, says string }{
		{"users import /nowhere/users.csv", "/nowhere"}, {"users import users.txt", "--format"}, {"users import", "accepts 1 arg"},
		{"users import users.csv --format xml", "--format"},
	} {
		if _, errs, err := run(append(strings.Fields(row.args), "--address", o.address)...); err == nil || !strings.Contains(errs, row.says) {
			t.Errorf("%s: %v %s", row.args, err, errs)
		}
	}
}

// More conflicts than fit a connection's buffers, while the file still comes in.
func TestImportAnswersWhileItReads(t *testing.T) {
	o := startOffice(t, socket(t), plenty)
	file := filepath.Join(o.dir, "users.csv")
	if err := os.WriteFile(file, []byte("phone\n"+strings.Repeat("nonsense\n", 100_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, err := run("users", "import", file, "--address", o.address)
	if err == nil || !strings.Contains(out, fmt.Sprintf("%d conflicts.", 100_000)) {
		t.Errorf("%v %s", err, errs)
	}
}
