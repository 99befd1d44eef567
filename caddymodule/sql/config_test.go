package sql_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/sidegate/sidegate/caddymodule/sql"
)

func TestProvisionChecks(t *testing.T) {
	t.Setenv("USERS_DSN", "host=/run/postgresql user=sidegate password="+password)
	t.Setenv("BROKEN_DSN", "postgres://sidegate:"+password+"@db:port/app")
	t.Setenv("LESS_DSN", "host=db.internal password="+password+" sslmode=verify-full sslrootcert=/none/ca.pem")
	t.Setenv("MYSQL_DSN", "sidegate:"+password+"@tcp(db)")
	for _, row := range []struct {
		json string
		want string // empty: it is taken
	}{
		{`{"engine": "postgres", "dsn": "{env.USERS_DSN}", "query": "SELECT $1", "timeout": 1000000000, "max_open": 100}`, ""},
		{`{"engine": "mysql", "dsn": "sidegate@unix(/run/mysqld/mysqld.sock)/app", "query": "SELECT ?"}`, ""},
		{`{"dsn": "{env.USERS_DSN}", "query": "SELECT $1"}`, `knows no ""; use postgres, or mysql`},
		{`{"engine": "sqlite", "dsn": "{env.USERS_DSN}", "query": "SELECT $1"}`, `knows no "sqlite"`},
		{`{"engine": "postgres", "query": "SELECT $1"}`, "dsn is needed, such as postgres://"},
		{`{"engine": "postgres", "dsn": "{env.NOT_SET}", "query": "SELECT $1"}`, "dsn: "},
		{`{"engine": "postgres", "dsn": "{env.BROKEN_DSN}", "query": "SELECT $1"}`, "dsn cannot be read; write it as postgres://"},
		{`{"engine": "postgres", "dsn": "{env.LESS_DSN}", "query": "SELECT $1"}`, "dsn cannot be read (open /none/ca.pem: no such file"},
		{`{"engine": "mysql", "dsn": "{env.MYSQL_DSN}", "query": "SELECT ?"}`, "dsn cannot be read; write it as sidegate:PASSWORD@tcp"},
		{`{"engine": "postgres", "dsn": "{env.USERS_DSN}"}`, "query must be a SELECT with $1"},
		{`{"engine": "postgres", "dsn": "{env.USERS_DSN}", "query": "SELECT id FROM users"}`, "query must be a SELECT with $1"},
		{`{"engine": "mysql", "dsn": "{env.MYSQL_DSN}", "query": "SELECT id FROM users WHERE phone = $1"}`, "query must be a SELECT with ?"},
		{`{"engine": "postgres", "dsn": "{env.USERS_DSN}", "query": "SELECT $1", "timeout": 1}`, "from 100ms to 8s"},
		{`{"engine": "postgres", "dsn": "{env.USERS_DSN}", "query": "SELECT $1", "max_open": 101}`, "max_open is 101: use a value from 1 to 100"},
		{`{"engine": "postgres", "dsn": "{env.USERS_DSN}", "query": "SELECT $1", "max_open": -1}`, "max_open is -1"},
	} {
		d := new(sql.Directory)
		if err := json.Unmarshal([]byte(row.json), d); err != nil {
			t.Fatal(err)
		}
		err := provision(d)
		if row.want == "" && err != nil || row.want != "" && !strings.Contains(fmt.Sprint(err), row.want) {
			t.Errorf("%s: got %v, want %q", row.json, err, row.want)
		}
		discreet(t, err)
	}
}

// Attack: whoever is between this machine and the database answers in its place
// that his own number is the administrator's.
func TestExposedDatabasesAreWarnedOf(t *testing.T) {
	for _, row := range []struct {
		engine, dsn string
		warned      bool
	}{
		{"postgres", "postgres://u@db.internal/app?sslmode=disable", true},
		{"postgres", "postgres://u@db.internal/app", true}, // sslmode=prefer
		{"postgres", "postgres://u@db.internal/app?sslmode=allow", true},
		{"postgres", "postgres://u@db.internal/app?sslmode=require", true}, // any certificate
		{"postgres", "postgres://u@db.internal/app?sslmode=verify-ca", false},
		{"postgres", "postgres://u@db.internal/app?sslmode=verify-full", false},
		{"postgres", "postgres://u@127.0.0.1,10.0.0.9/app?sslmode=disable", true},
		{"postgres", "postgres://u@localhost/app?sslmode=disable", false},
		{"postgres", "postgres://u@[::1]/app?sslmode=disable", false},
		{"postgres", "host=/run/postgresql user=u", false},
		{"mysql", "u@tcp(db.internal)/app", true},
		{"mysql", "u@tcp(10.0.0.9:3306)/app?tls=preferred", true},
		{"mysql", "u@tcp(db.internal)/app?tls=skip-verify", true},
		{"mysql", "u@tcp(db.internal)/app?tls=true&allowFallbackToPlaintext=true", true},
		{"mysql", "u@tcp(db.internal)/app?tls=true", false},
		{"mysql", "u@tcp(127.0.0.1:3306)/app", false},
		{"mysql", "u@/app", false},
		{"mysql", "u@unix(/run/mysqld/mysqld.sock)/app?tls=preferred", false},
	} {
		log := validate(t, row.engine, row.dsn)
		if got := strings.Contains(log, "answer in its place"); got != row.warned {
			t.Errorf("%s: warned: %v, want %v", row.dsn, got, row.warned)
		}
		if strings.Contains(log, row.dsn) {
			t.Errorf("the log holds the DSN: %s", log)
		}
	}
}

// validate does what `caddy validate` does, and gives the log.
func validate(t *testing.T, engine, dsn string) string {
	t.Helper()
	t.Setenv("USERS_DSN", dsn)
	file := filepath.Join(t.TempDir(), "log")
	config := caddy.Config{
		Admin: &caddy.AdminConfig{Disabled: true},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{
			WriterRaw: caddyconfig.JSON(map[string]any{"output": "file", "filename": file, "roll": false}, nil),
		}}}},
		AppsRaw: caddy.ModuleMap{"sidegate": json.RawMessage(
			`{"directory": {"directory": "sql", "engine": "` + engine + `", "dsn": "{env.USERS_DSN}", "query": "SELECT $1 ?"}}`)},
	}
	if err := caddy.Validate(&config); err != nil {
		t.Fatalf("%s: %v", dsn, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// `caddy validate` may run where the database cannot be reached.
func TestValidateConnectsToNothing(t *testing.T) {
	s := start(t, postgres)
	s.waitForConnections(t, 0)                           // those of other tests
	validate(t, "postgres", s.dsn("sidegate", password)) // once for what Caddy itself starts
	before := runtime.NumGoroutine()
	for range 10 {
		validate(t, "postgres", s.dsn("sidegate", password))
	}
	goroutines(t, before)
	if got := s.connections(t); got != 0 {
		t.Errorf("%d connections", got)
	}
}
