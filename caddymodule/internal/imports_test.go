package internal_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	repository = "github.com/sidegate/sidegate"
	root       = "../.."
	maxLines   = 400
)

// A room is a directory and what lies under it; the longest dir that fits a file decides.
type room struct {
	dir string
	// may lists the other directories of this repository it may import.
	may []string
	// foreign says whether modules other than the standard library are welcome.
	foreign bool
}

// Imports point one way: cmd → caddymodule → internal/*, web → auth.
var rooms = []room{
	{"cmd", []string{"caddymodule", "caddymodule/demo", "caddymodule/redis", "caddymodule/sns", "caddymodule/sql"}, true},
	// It fills the table with sessions, as a store that plugs in could.
	{"cmd/bench", []string{"caddymodule", "caddymodule/auth"}, true},
	// Its servers of Redis are those of the tests.
	{"cmd/cluster", []string{"caddymodule/redis/redistest"}, false},
	{"cmd/simulate", []string{"caddymodule", "caddymodule/simulate"}, false},
	{"caddymodule/simulate", []string{"caddymodule/auth", "caddymodule/internal"}, false},
	{"caddymodule", []string{"caddymodule/auth", "caddymodule/internal", "caddymodule/web"}, true},
	// The client of Redis adds 10 MB to a binary that need not have it.
	{"caddymodule/redis", []string{"caddymodule", "caddymodule/auth", "caddymodule/redis/redisstore"}, true},
	{"caddymodule/redis/redisstore", []string{"caddymodule/auth"}, true},
	{"caddymodule/redis/redistest", nil, true},
	{"caddymodule/demo", nil, true},
	// The AWS SDK adds 3.7 MB to a binary that need not have it.
	{"caddymodule/sns", []string{"caddymodule", "caddymodule/auth"}, true},
	// The drivers add 4.2 MB.
	{"caddymodule/sql", []string{"caddymodule", "caddymodule/auth"}, true},
	{"caddymodule/auth", nil, false},
	{"caddymodule/web", []string{"caddymodule/auth"}, true},
	{"caddymodule/storetest", []string{"caddymodule/auth"}, true},
	{"caddymodule/internal", []string{"caddymodule/auth"}, true},
}

// A technology is known in few rooms: whoever replaces it looks nowhere else.
var technologies = map[string][]string{
	"github.com/caddyserver/caddy":        {"cmd", "cmd/bench", "caddymodule", "caddymodule/demo", "caddymodule/redis", "caddymodule/sns", "caddymodule/sql", "caddymodule/internal/command"},
	"github.com/spf13/cobra":              {"caddymodule/internal/command"},
	"github.com/aws":                      {"caddymodule/sns"},
	"github.com/jackc/pgx":                {"caddymodule/sql"},
	"github.com/go-sql-driver/mysql":      {"caddymodule/sql"},
	"github.com/caddyserver/certmagic":    {"caddymodule"},
	"github.com/caddyserver/xcaddy":       {"cmd/build"},
	"github.com/BurntSushi/toml":          {"cmd/build"},
	"filippo.io/age":                      {"caddymodule/internal/backup"},
	"github.com/dgraph-io":                {"caddymodule/internal/badgerstore"},
	"github.com/golang-jwt/jwt":           {"caddymodule/internal/token"},
	"github.com/nyaruka/phonenumbers":     {"caddymodule/internal/phone"},
	"github.com/redis/rueidis":            {"caddymodule/redis/redisstore", "caddymodule/redis/redistest"},
	"github.com/prometheus/client_golang": {"caddymodule/internal/metrics"},
	"go.opentelemetry.io":                 {"caddymodule"},
	"golang.org/x/text":                   {"caddymodule/web", "caddymodule/internal/sender"},
	"go.uber.org/zap":                     {"caddymodule", "caddymodule/redis", "cmd"},
	"pgregory.net/rapid":                  {"caddymodule/storetest"},
}

// refusal says why a file in dir may not import imported, or nothing.
func refusal(dir, imported string) string {
	home, ok := roomOf(dir)
	if !ok {
		return "" // the repository's root and docs hold no rules
	}
	if own, ok := strings.CutPrefix(imported, repository+"/"); ok {
		if covers(home.dir, own) && sameInternalRoom(dir, own) || anyCovers(home.may, own) {
			return ""
		}
		return "the rooms' order forbids it"
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return "" // standard library: only other modules have a domain in front
	}
	if !home.foreign {
		return "this room knows the standard library only"
	}
	for technology, known := range technologies {
		if inside(imported, technology) && !anyCovers(known, dir) {
			return fmt.Sprintf("%s is known only in %s", technology, strings.Join(known, ", "))
		}
	}
	return ""
}

func inside(dir, parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }

// roomOf finds the longest room that holds dir.
func roomOf(dir string) (found room, ok bool) {
	for _, r := range rooms {
		if inside(dir, r.dir) && len(r.dir) > len(found.dir) {
			found, ok = r, true
		}
	}
	return found, ok
}

// covers tells whether a leave given for parent holds for dir: "caddymodule" means that package, and not the
// rooms below it that have rules of their own.
func covers(parent, dir string) bool {
	one, _ := roomOf(parent)
	other, _ := roomOf(dir)
	return inside(dir, parent) && one.dir == other.dir
}

func anyCovers(parents []string, dir string) bool {
	return slices.ContainsFunc(parents, func(p string) bool { return covers(p, dir) })
}

// sameInternalRoom keeps internal/token from internal/vault, and lets internal/sender import internal/sender/twilio.
func sameInternalRoom(a, b string) bool {
	const internal = "caddymodule/internal/"
	if !strings.HasPrefix(a, internal) {
		return true
	}
	one, _, _ := strings.Cut(strings.TrimPrefix(a, internal), "/")
	return inside(b, internal+one)
}

func TestRefusal(t *testing.T) {
	for _, test := range []struct {
		name, dir, imported string
		refused             bool
	}{
		{"auth may know the standard library", "caddymodule/auth", "crypto/subtle", false},
		{"auth may not know Caddy", "caddymodule/auth", "github.com/caddyserver/caddy/v2", true},
		{"auth may not know golang.org/x", "caddymodule/auth", "golang.org/x/crypto/hkdf", true},
		{"auth may not know a store", "caddymodule/auth", repository + "/caddymodule/internal/memstore", true},
		{"auth may not know caddymodule", "caddymodule/auth", repository + "/caddymodule", true},
		{"a room may know auth", "caddymodule/internal/gate", repository + "/caddymodule/auth", false},
		{"a room may not know its neighbour", "caddymodule/internal/gate", repository + "/caddymodule/internal/token", true},
		{"a room may not know one with a longer name", "caddymodule/internal/gate", repository + "/caddymodule/internal/gateway", true},
		{"a room may have chambers", "caddymodule/internal/sender", repository + "/caddymodule/internal/sender/twilio", false},
		{"a room may not know Caddy", "caddymodule/internal/gate", "github.com/caddyserver/caddy/v2/modules/caddyhttp", true},
		{"a room may not know web", "caddymodule/internal/api", repository + "/caddymodule/web", true},
		{"web may know auth", "caddymodule/web", repository + "/caddymodule/auth", false},
		{"web may not know a room", "caddymodule/web", repository + "/caddymodule/internal/gate", true},
		{"caddymodule may know the rooms", "caddymodule", repository + "/caddymodule/internal/gate", false},
		{"caddymodule may know Caddy", "caddymodule", "github.com/caddyserver/caddy/v2", false},
		{"caddymodule may not know redis", "caddymodule", repository + "/caddymodule/redis", true},
		{"caddymodule may not know Badger", "caddymodule", "github.com/dgraph-io/badger/v4", true},
		{"redis may know the package it plugs into", "caddymodule/redis", repository + "/caddymodule", false},
		{"redis may not know a room", "caddymodule/redis", repository + "/caddymodule/internal/memstore", true},
		{"redis may know its engine", "caddymodule/redis", repository + "/caddymodule/redis/redisstore", false},
		{"the engine of redis may not know Caddy", "caddymodule/redis/redisstore", "github.com/caddyserver/caddy/v2", true},
		{"the engine of redis may not know the servers of its tests", "caddymodule/redis/redisstore", repository + "/caddymodule/redis/redistest", true},
		{"redis may know Caddy", "caddymodule/redis", "github.com/caddyserver/caddy/v2", false},
		{"a database's driver has one room", "caddymodule/sql", "github.com/jackc/pgx/v5", false},
		{"caddymodule may not know a driver", "caddymodule", "github.com/jackc/pgx/v5", true},
		{"Badger has its room", "caddymodule/internal/badgerstore", "github.com/dgraph-io/badger/v4", false},
		{"Badger has one room", "caddymodule/internal/memstore", "github.com/dgraph-io/badger/v4", true},
		{"the file of backups has one room", "caddymodule/internal/admin", "filippo.io/age", true},
		{"JWT has one room", "caddymodule/internal/gate", "github.com/golang-jwt/jwt/v5", true},
		{"caddymodule may not know Prometheus", "caddymodule", "github.com/prometheus/client_golang/prometheus", true},
		{"traces are known to who knows Caddy", "caddymodule/auth", "go.opentelemetry.io/otel/trace", true},
		{"phone rules have one room", "caddymodule/internal/api", "github.com/nyaruka/phonenumbers", true},
		{"a command may know caddymodule", "cmd/sidegate", repository + "/caddymodule", false},
		{"a command may know Caddy", "cmd/sidegate", "github.com/caddyserver/caddy/v2/cmd", false},
		{"the benchmark may know auth", "cmd/bench", repository + "/caddymodule/auth", false},
		{"another command may not know auth", "cmd/sidegate", repository + "/caddymodule/auth", true},
		{"the operator's commands may know Caddy", "caddymodule/internal/command", "github.com/caddyserver/caddy/v2/cmd", false},
		{"the operator's commands have one room", "caddymodule/internal/admin", "github.com/spf13/cobra", true},
		{"xcaddy is for one command", "cmd/sidegate", "github.com/caddyserver/xcaddy", true},
	} {
		if why := refusal(test.dir, test.imported); (why != "") != test.refused {
			t.Errorf("%s: got %q", test.name, why)
		}
	}
}

func TestImportsKeepToTheirRooms(t *testing.T) {
	eachSource(t, func(file string, _ []byte, tree *ast.File) {
		for _, spec := range tree.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why := refusal(path.Dir(file), imported); why != "" {
				t.Errorf("%s imports %s: %s", file, imported, why)
			}
		}
	})
}

func TestFilesHoldOneIdea(t *testing.T) {
	eachSource(t, func(file string, text []byte, _ *ast.File) {
		if lines := bytes.Count(text, []byte("\n")); lines > maxLines {
			t.Errorf("%s has %d lines, at most %d are read with pleasure", file, lines, maxLines)
		}
	})
}

// A name that fits everything invites everything in.
var vague = []string{"util", "utils", "helper", "helpers", "common", "manager"}

func TestNamesSaySomething(t *testing.T) {
	check := func(file, what, name string) {
		if slices.Contains(vague, strings.ToLower(name)) {
			t.Errorf("%s: %s %q says nothing", file, what, name)
		}
	}
	eachSource(t, func(file string, _ []byte, tree *ast.File) {
		check(file, "package", tree.Name.Name)
		for part := range strings.SplitSeq(strings.TrimSuffix(file, ".go"), "/") {
			check(file, "path", part)
		}
		for name := range tree.Scope.Objects {
			check(file, "name", name)
		}
	})
}

// eachSource gives every Go file of the repository that is not a test, by its path from the root.
func eachSource(t *testing.T, visit func(file string, text []byte, tree *ast.File)) {
	t.Helper()
	var seen int
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() && name != root && (base == "testdata" || base == "node_modules" || strings.HasPrefix(base, ".")) {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root, name)
		seen++
		visit(filepath.ToSlash(file), text, tree)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("no source was found, so nothing was checked")
	}
}
