package caddymodule_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/spf13/cobra"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// routeTable are the admin routes that the source names, so that a new one
// cannot be forgotten by the tests that drive them all.
type routeTable struct {
	patterns []string
	mux      *http.ServeMux
}

func adminRoutes(t *testing.T) routeTable {
	t.Helper()
	table := routeTable{mux: http.NewServeMux()}
	files, err := filepath.Glob("internal/admin/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source: %v", err)
	}
	route := regexp.MustCompile(`^(GET|POST|PUT|PATCH|DELETE) /sidegate/`)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING {
				if pattern, _ := strconv.Unquote(text.Value); route.MatchString(pattern) {
					table.patterns = append(table.patterns, pattern)
					table.mux.Handle(pattern, http.NotFoundHandler())
				}
			}
			return true
		})
	}
	if len(table.patterns) == 0 {
		t.Fatal("the source names no routes")
	}
	return table
}

// of is the route that an order goes to; empty: none.
func (r routeTable) of(o order) string {
	request, err := http.NewRequest(o.method, "/sidegate/"+o.path, nil)
	if err != nil { // a query that is none
		return ""
	}
	_, pattern := r.mux.Handler(request)
	return pattern
}

// wantAll fails for each route that is not among some, and for each of those
// that is no route.
func (r routeTable) wantAll(t *testing.T, some map[string]bool, otherwise string) {
	t.Helper()
	for _, pattern := range r.patterns {
		if !some[pattern] {
			t.Errorf("%s %s", pattern, otherwise)
		}
	}
	for pattern := range some {
		if pattern != "" && !slices.Contains(r.patterns, pattern) {
			t.Errorf("%s is no route", pattern)
		}
	}
}

// Of what there was nothing before, or is nothing after.
var (
	makes = []auth.EventName{
		auth.EventUserCreated, auth.EventBlockAdded, auth.EventUsersImported,
		auth.EventUsersExported, auth.EventUserExported, auth.EventBackupMade,
	}
	removes = []auth.EventName{auth.EventUserDeleted, auth.EventDeviceDeleted, auth.EventBlockRemoved}
)

// toldWhole reports whether an act says what there was before and what there is
// after it.
func toldWhole(e auth.Event) bool {
	return (e.Before != nil || slices.Contains(makes, e.Name)) && (e.After != nil || slices.Contains(removes, e.Name))
}

// leaves are the commands below one that do something, by their names.
func leaves(cmd *cobra.Command, path string) (names []string) {
	for _, sub := range cmd.Commands() {
		name := sub.Name()
		if path != "" {
			name = path + " " + name
		}
		switch {
		case name == "help" || name == "completion":
		case sub.HasSubCommands():
			names = append(names, leaves(sub, name)...)
		default:
			names = append(names, name)
		}
	}
	return names
}
