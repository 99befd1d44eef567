package sql_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/sql"
)

const known, unknown = "+46701234567", "+46701234568"

func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "sidegate-test-")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		os.Setenv(name, home)
	}
	code := m.Run()
	endServers()
	os.RemoveAll(home)
	os.Exit(code)
}

// table makes the app's table anew, with one user.
func (s *server) table(t *testing.T) {
	t.Helper()
	err := s.run(
		"DROP TABLE IF EXISTS users CASCADE",
		"CREATE TABLE users (id bigint, phone varchar(20), user_type varchar(40), roles text, active boolean)",
		"INSERT INTO users VALUES (4711, '"+known+"', 'staff', 'admin,support', TRUE)",
		"GRANT SELECT ON users TO sidegate",
	)
	if err != nil {
		t.Fatal(err)
	}
}

// ask is a query with the parameter as the engine writes it.
func (s *server) ask(query string) string {
	if s.engine == "mysql" {
		return strings.ReplaceAll(query, "$1", "?")
	}
	return query
}

// directory is the module as Caddy makes it.
func (s *server) directory(t *testing.T, query string) auth.Directory {
	t.Helper()
	return open(t, &sql.Directory{Engine: s.engine, DSN: s.dsn("sidegate", password), Query: s.ask(query)})
}

func open(t *testing.T, d *sql.Directory) auth.Directory {
	t.Helper()
	if err := provision(d); err != nil {
		t.Fatal(err)
	}
	users, err := d.Directory(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { users.(io.Closer).Close() })
	return users
}

func provision(d *sql.Directory) error {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	return d.Provision(ctx)
}

const (
	refused = "account_disabled" // 403 for the client
	fault   = "fault"            // 503, and the code stays good
)

func outcome(a auth.Account, err error) string {
	switch {
	case errors.Is(err, auth.Refuse(auth.CodeAccountDisabled)):
		return refused
	case err != nil:
		return fault
	}
	return fmt.Sprintf("%d %s %q", a.UserID, a.Type, a.Roles)
}

func discreet(t *testing.T, err error) {
	t.Helper()
	for _, told := range []string{known[1:], known[3:], password} {
		if err != nil && strings.Contains(err.Error(), told) {
			t.Errorf("the error %q holds %q", err, told)
		}
	}
}

const staff = `4711 staff ["admin" "support"]`

// row is a case: a query, and what becomes of the number in it.
type row struct{ name, query, want string }

// of is a query of the one user's row, with other columns.
func of(columns string) string { return "SELECT " + columns + " FROM users WHERE phone = $1" }

var rows = []row{
	{"a user", of("id, user_type, roles"), staff},
	{"no such user", "SELECT id, user_type, roles FROM users WHERE phone = $1 AND id = 1", refused},
	{"two rows", "SELECT id, user_type, roles FROM users WHERE phone = $1 UNION ALL SELECT 2, 'a', ''", fault},
	{"two rows that say the same", "SELECT id, user_type, roles FROM users WHERE phone = $1 UNION ALL SELECT id, user_type, roles FROM users", fault},
	{"two rows, the first of them banned", "SELECT 1, 'a', '', TRUE AS banned FROM users WHERE phone = $1 UNION ALL SELECT 2, 'a', '', FALSE", fault},

	{"not banned", of("id, user_type, roles, NOT active AS banned"), staff},
	{"banned", of("id, user_type, roles, active AS banned"), refused},
	{"banned, in capitals", of(`id, user_type, roles, active AS BANNED`), refused},
	{"banned by a number", of("id, user_type, roles, 1 AS banned"), refused},
	{"not banned by a number", of("id, user_type, roles, 0 AS banned"), staff},
	{"banned and without a type", of("id, NULL, roles, active AS banned"), refused},
	{"banned is unknown", of("id, user_type, roles, NULL AS banned"), fault},
	{"banned is another number", of("id, user_type, roles, 2 AS banned"), fault},
	{"banned is text", of("id, user_type, roles, 'f' AS banned"), fault},
	{"a fourth column of another name lets in whom it should not", of("id, user_type, roles, active"), fault},
	{"the same for an unknown number", "SELECT id, user_type, roles, active FROM users WHERE phone = $1 AND id = 1", fault},
	{"a fifth column", of("id, user_type, roles, FALSE AS banned, 1"), fault},
	{"two columns", of("id, user_type"), fault},

	{"no id", of("NULL, user_type, roles"), refused},
	{"id 0", of("0, user_type, roles"), refused},
	{"a negative id", of("-7, user_type, roles"), fault},
	{"an id that JSON keeps", of("9007199254740991, user_type, NULL"), "9007199254740991 staff []"},
	{"an id as text", of("'7', user_type, roles"), fault},
	{"an id with a fraction", of("7.5, user_type, roles"), fault},
	{"an id above 2^63", of("18446744073709551615, user_type, roles"), fault},
	{"the number as an id", of("phone, user_type, roles"), fault},

	{"no type", of("id, NULL, roles"), fault},
	{"an empty type", of("id, '', roles"), fault},
	{"a number as a type", of("id, 7, roles"), fault},

	{"no roles", of("id, user_type, NULL"), "4711 staff []"},
	{"empty roles", of("id, user_type, ''"), "4711 staff []"},
	{"roles with spaces", of("id, user_type, ' admin  support '"), staff},
	{"roles with both", of("id, user_type, 'admin, support,'"), staff},
	{"roles in JSON", of(`id, user_type, '["admin", "support"]'`), staff},
	{"JSON that was cut off", of(`id, user_type, '["admin", "supp'`), fault},
	{"JSON of no texts", of(`id, user_type, '["admin", 7]'`), fault},
	{"a number as roles", of("id, user_type, 7"), fault},

	{"no such table", "SELECT id, user_type, roles FROM people WHERE phone = $1", fault},
	{"no such column", of("id, kind, roles"), fault},
	{"no SQL", "SELEKT $1", fault},
	{"no parameter: it would sign in everybody as the same user", "SELECT id, user_type, roles FROM users -- $1", fault},
	{"a parameter in quotes", "SELECT id, user_type, roles FROM users WHERE phone <> '$1'", fault},
	{"two statements", "SELECT id, user_type, roles FROM users WHERE phone = $1; DELETE FROM users", fault},
	{"a fault that quotes the number", of("CAST(phone AS integer) / 0, user_type, roles"), "quoting"},
}

func TestRows(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.table(t)
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) { s.check(t, row) })
		}
	})
}

func (s *server) check(t *testing.T, row row) {
	t.Helper()
	account, err := s.directory(t, row.query).Resolve(t.Context(), known, "challenge")
	discreet(t, err)
	if row.want == "quoting" { // MariaDB makes NULL of it
		row.want = map[string]string{"postgres": fault, "mysql": refused}[s.engine]
	}
	if got := outcome(account, err); got != row.want {
		t.Errorf("got %s (%v), want %s", got, err, row.want)
	}
	if err != nil && (account.UserID != 0 || account.Type != "") {
		t.Errorf("an account beside the error: %+v", account)
	}
}

func TestRowsOfPostgres(t *testing.T) {
	s := start(t, postgres)
	s.table(t)
	if err := s.run("DROP TYPE IF EXISTS role", "CREATE TYPE role AS ENUM ('admin', 'support')"); err != nil {
		t.Fatal(err)
	}
	for _, row := range []row{
		{"roles as an array", of("id, user_type, string_to_array(roles, ',')"), staff},
		{"an array of varchar", of("id, user_type, ARRAY['admin', 'support']::varchar[]"), staff},
		{"an array of an own type", of("id, 'staff', ARRAY['admin', 'support']::role[]"), staff},
		{"an own type", of("id, 'admin'::role, NULL"), "4711 admin []"},
		{"an empty array", of("id, user_type, ARRAY[]::text[]"), "4711 staff []"},
		{"an array with commas and spaces stays as it is, for the domain to refuse", of("id, user_type, ARRAY['a,b', 'c d']"), `4711 staff ["a,b" "c d"]`},
		{"an array with NULL", of("id, user_type, ARRAY['admin', NULL]"), fault},
		{"an array in an array", of("id, user_type, ARRAY[ARRAY['admin'], ARRAY['support']]"), fault},
		{"an array that counts from 0", of("id, user_type, '[0:1]={admin,support}'::text[]"), fault},
		{"jsonb", of(`id, user_type, '["admin", "support"]'::jsonb`), staff},
		{"an object in JSON", of(`id, user_type, '{"admin": true}'::jsonb`), fault},
		{"a small id", of("id::smallint, user_type, roles"), staff},
		{"an id as numeric", of("id::numeric, user_type, roles"), fault},
		{"a column of whole numbers", "SELECT id, user_type, roles FROM users WHERE phone::bigint = $1", staff},
		{"the number without its plus", "SELECT id, user_type, roles FROM users WHERE substr(phone, 2) = substr($1, 2)", staff},
		{"the parameter twice", "SELECT id, user_type, roles FROM users WHERE phone = $1 AND $1 <> ''", staff},
		{"two parameters", "SELECT id, user_type, roles FROM users WHERE phone = $1 AND user_type = $2", fault},
		{"a row that breaks off", of("1 / (id - 4711), user_type, roles"), fault},
	} {
		t.Run(row.name, func(t *testing.T) { s.check(t, row) })
	}
}

func TestRowsOfMariaDB(t *testing.T) {
	s := start(t, mariadb)
	s.table(t)
	if err := s.run(
		"ALTER TABLE users ADD locked bit(1) DEFAULT b'0', ADD off bit(1) DEFAULT b'1', ADD u bigint unsigned DEFAULT 7, ADD kind enum('staff') DEFAULT 'staff'",
		"ALTER TABLE users ADD tags json DEFAULT '[\"admin\", \"support\"]'",
	); err != nil {
		t.Fatal(err)
	}
	for _, row := range []row{
		{"not banned by a bit", of("id, user_type, roles, locked AS banned"), staff},
		{"banned by a bit", of("id, user_type, roles, off AS banned"), refused},
		{"an id without a sign", of("u, kind, tags"), `7 staff ["admin" "support"]`},
		{"roles of rows", of("id, user_type, (SELECT group_concat(r) FROM (SELECT 'admin' AS r UNION SELECT 'support') AS x)"), staff},
		{"a list of roles that the database cut off is no JSON any more",
			of("id, user_type, LEFT((SELECT json_arrayagg(r) FROM (SELECT 'admin' AS r UNION SELECT 'support') AS x), 16)"), fault},
		{"two parameters", "SELECT id, user_type, roles FROM users WHERE phone = ? AND user_type = ?", fault},
	} {
		t.Run(row.name, func(t *testing.T) { s.check(t, row) })
	}
}

// Attack: a number that is SQL. Clients cannot send one, since numbers are
// parsed before; it would be a value all the same.
func TestTheNumberIsBound(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.table(t)
		users := s.directory(t, of("id, user_type, roles"))
		for _, number := range []string{unknown, "", "' OR '1'='1", "x' OR 1=1 -- ", `\' OR 1=1 #`, "%", "$1", "?", "'; DROP TABLE users; --"} {
			if account, err := users.Resolve(t.Context(), number, "challenge"); outcome(account, err) != refused {
				t.Errorf("%q: got %+v, %v", number, account, err)
			}
		}
		if got := outcome(users.Resolve(t.Context(), known, "challenge")); got != staff {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// Attack, or mistake: a DSN that has the drivers write the number into the
// query's text. Then a query could be several, and leave its transaction.
func TestTheDSNCannotUnbindTheNumber(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.table(t)
		dsn := s.dsn("sidegate", password) + "?interpolateParams=true&multiStatements=true"
		if s.engine == "postgres" {
			dsn = s.dsn("sidegate", password) + " default_query_exec_mode=simple_protocol"
		}
		if err := s.run("GRANT DELETE ON users TO sidegate"); err != nil {
			t.Fatal(err)
		}
		query := s.ask(of("id, user_type, roles") + "; COMMIT; DELETE FROM users")
		asks(t, "three statements", open(t, &sql.Directory{Engine: s.engine, DSN: dsn, Query: query}), fault, "the query is no SQL")
		asks(t, "afterwards", s.directory(t, of("id, user_type, roles")), staff, "")
	})
}

// Attack, or mistake: a query that changes the table. The user of these tests
// may write; the transaction may not.
func TestWritesAreRefused(t *testing.T) {
	writes := map[string][]string{
		"postgres": {
			"UPDATE users SET roles = 'root' WHERE phone = $1 RETURNING id, user_type, roles",
			"WITH gone AS (DELETE FROM users RETURNING *) SELECT id, user_type, roles FROM gone WHERE phone = $1",
			"INSERT INTO users VALUES (1, $1, 'a', '') RETURNING id, user_type, roles",
			"SELECT id, user_type, roles FROM promote($1)",
			"SELECT id, user_type, set_config('transaction_read_only', 'off', false) FROM users WHERE phone = $1",
			"SELECT id, user_type, roles FROM users WHERE phone = $1 FOR UPDATE",
		},
		"mysql": {
			"DELETE FROM users WHERE phone = ? RETURNING id, user_type, roles",
			"INSERT INTO users (phone) VALUES (?) RETURNING 1, 'a', ''",
			"SELECT 7, 'staff', promote(?)",
		},
	}
	each(t, func(t *testing.T, s *server) {
		s.table(t)
		promote := map[string][]string{
			"postgres": {"GRANT ALL ON users TO sidegate", "CREATE OR REPLACE FUNCTION promote(text) RETURNS SETOF users LANGUAGE sql AS 'UPDATE users SET roles = ''root'' WHERE phone = $1 RETURNING *'"},
			"mysql":    {"DROP FUNCTION IF EXISTS promote", "CREATE FUNCTION promote(p text) RETURNS text BEGIN UPDATE users SET roles = 'root' WHERE phone = p; RETURN 'root'; END"},
		}
		if err := s.run(promote[s.engine]...); err != nil {
			t.Fatal(err)
		}
		for _, query := range writes[s.engine] {
			account, err := s.directory(t, query).Resolve(t.Context(), known, "challenge")
			if outcome(account, err) != fault || !strings.Contains(err.Error(), "25006") && !strings.Contains(err.Error(), "1792") && !strings.Contains(query, "set_config") {
				t.Errorf("%s: got %+v, %v", query, account, err)
			}
		}
		if got := outcome(s.directory(t, of("id, user_type, roles")).Resolve(t.Context(), known, "challenge")); got != staff {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// What the table says now holds, also on a connection that has asked before,
// and after the table has changed its shape.
func TestChangesAreSeen(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.table(t)
		users := s.directory(t, of("id, user_type, roles"))
		for _, step := range []struct{ statement, want string }{
			{"UPDATE users SET roles = 'reader'", `4711 staff ["reader"]`},
			{"UPDATE users SET user_type = 'customer', roles = NULL", "4711 customer []"},
			{"ALTER TABLE users DROP roles, ADD roles varchar(20) DEFAULT 'new'", `4711 customer ["new"]`},
			{"ALTER TABLE users DROP roles", fault},
			{"ALTER TABLE users ADD roles varchar(20) DEFAULT 'back'", `4711 customer ["back"]`},
			{"DELETE FROM users", refused},
		} {
			if err := s.run(step.statement); err != nil {
				t.Fatal(err)
			}
			if account, err := users.Resolve(t.Context(), known, "challenge"); outcome(account, err) != step.want {
				t.Errorf("after %s: got %+v, %v", step.statement, account, err)
			}
		}
	})
}

func TestRoleList(t *testing.T) {
	for _, row := range []struct {
		value any
		want  []string
		fails bool
	}{
		{value: nil},
		{value: ""},
		{value: ","},
		{value: "admin", want: []string{"admin"}},
		{value: []byte("a,b c"), want: []string{"a", "b", "c"}},
		{value: "a\tb\n", want: []string{"a\tb\n"}}, // for the domain to refuse
		{value: ` ["a"]`, want: []string{"a"}},
		{value: `[]`, want: []string{}},
		{value: `["a", null]`, want: []string{"a", ""}}, // for the domain to refuse
		{value: `{"a b",c}`, want: []string{"a b", "c"}},
		{value: `{}`, want: []string{}},
		{value: `{"a\"",NULLS,"NULL","\\"}`, want: []string{`a"`, "NULLS", "NULL", `\`}},
		{value: `["a"] b`, fails: true},
		{value: `[["a"]]`, fails: true},
		{value: `{a`, fails: true},
		{value: `{a,NULL}`, fails: true},
		{value: `{{a},{b}}`, fails: true},
		{value: `{"a": true}`, fails: true},
		{value: `{a} b`, fails: true},
		{value: `{a,}`, fails: true},
		{value: `{"a\"}`, fails: true},
		{value: int64(7), fails: true},
		{value: true, fails: true},
		{value: strings.Repeat("a", 64<<10+1), fails: true},
	} {
		got, err := sql.RoleList(row.value)
		if (err != nil) != row.fails || !slices.Equal(got, row.want) {
			t.Errorf("%.40v: got %q, %v", row.value, got, err)
		}
	}
}

func FuzzRoleList(f *testing.F) {
	for _, seed := range []string{"", "admin,support", " a b", `["a","b"]`, `{a,"b c"}`, `{{a}}`, `[0:1]={a,b}`, `{"\\`, "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		roles, err := sql.RoleList(list)
		if err != nil && roles != nil {
			t.Errorf("%q: roles %q beside the error", list, roles)
		}
		if isArray := strings.HasPrefix(strings.TrimLeft(list, " "), "[") || strings.HasPrefix(strings.TrimLeft(list, " "), "{"); isArray {
			return
		}
		for _, role := range roles {
			if role == "" || strings.ContainsAny(role, ", ") || !strings.Contains(list, role) {
				t.Errorf("%q: role %q", list, role)
			}
		}
	})
}
