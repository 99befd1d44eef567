package caddymodule_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	_ "github.com/sidegate/sidegate/caddymodule/redis"
	_ "github.com/sidegate/sidegate/caddymodule/sns"
	_ "github.com/sidegate/sidegate/caddymodule/sql"
)

// blocks are the places of a Caddyfile that have words of their own, each with
// a Caddyfile that has a wrong word there.
var blocks = map[string]string{
	"global":            "{\n sidegate {\n%s\n}\n}",
	"otp":               "{\n sidegate {\n otp {\n%s\n}\n}\n}",
	"limits":            "{\n sidegate {\n limits {\n%s\n}\n}\n}",
	"tokens":            "{\n sidegate {\n tokens {\n%s\n}\n}\n}",
	"sessions":          "{\n sidegate {\n sessions {\n%s\n}\n}\n}",
	"retention":         "{\n sidegate {\n retention {\n%s\n}\n}\n}",
	"store badger":      "{\n sidegate {\n store badger {\n%s\n}\n}\n}",
	"store redis":       "{\n sidegate {\n store redis {\n%s\n}\n}\n}",
	"sender webhook":    "{\n sidegate {\n sender webhook https://a.example {\n%s\n}\n}\n}",
	"sender twilio":     "{\n sidegate {\n sender twilio {\n%s\n}\n}\n}",
	"sender vonage":     "{\n sidegate {\n sender vonage {\n%s\n}\n}\n}",
	"sender sns":        "{\n sidegate {\n sender sns {\n%s\n}\n}\n}",
	"sender exec":       "{\n sidegate {\n sender exec cat {\n%s\n}\n}\n}",
	"sender file":       "{\n sidegate {\n sender file /codes {\n%s\n}\n}\n}",
	"sender log":        "{\n sidegate {\n sender log {\n%s\n}\n}\n}",
	"risk webhook":      "{\n sidegate {\n risk webhook https://a.example {\n%s\n}\n}\n}",
	"notify webhook":    "{\n sidegate {\n notify webhook https://a.example {\n%s\n}\n}\n}",
	"directory webhook": "{\n sidegate {\n directory webhook https://a.example {\n%s\n}\n}\n}",
	"directory sql":     "{\n sidegate {\n directory sql postgres {\n%s\n}\n}\n}",
	"directory local":   "{\n sidegate {\n directory local {\n%s\n}\n}\n}",
	"dormant webhook":   "{\n sidegate {\n directory local {\n dormant webhook https://a.example {\n%s\n}\n}\n}\n}",
	"pages":             "http://localhost {\n sidegate {\n pages {\n%s\n}\n}\n}",
	"site":              "http://localhost {\n sidegate {\n%s\n}\n}",
}

var knownHere = regexp.MustCompile(`unknown key "nonsense"; known here: ([a-z_, ]+)`)

// wordsOf asks the parser which words a block has.
func wordsOf(t *testing.T, block string) []string {
	t.Helper()
	_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(fmt.Appendf(nil, blocks[block], "nonsense"), map[string]any{"filename": "Caddyfile"})
	list := knownHere.FindStringSubmatch(fmt.Sprint(err))
	if list == nil {
		t.Fatalf("%s: %v", block, err)
	}
	return strings.Split(strings.TrimSuffix(list[1], ", at "), ", ")
}

// usedWords are the words that a Caddyfile gives, each with its block.
func usedWords(text string) map[string]bool {
	used := map[string]bool{}
	var around []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || strings.HasPrefix(fields[0], "#"):
			continue
		case fields[0] == "}":
			around = around[:max(0, len(around)-1)]
			continue
		}
		if len(around) > 0 {
			used[around[len(around)-1]+" "+fields[0]] = true
		}
		if slices.Contains(fields, "{") {
			around = append(around, blockOf(fields, len(around)))
		}
	}
	return used
}

// blockOf names the block that a line opens, as blocks does.
func blockOf(fields []string, depth int) string {
	name := strings.Join(fields[:min(2, len(fields))], " ")
	if _, known := blocks[name]; known {
		return name
	}
	if _, known := blocks[fields[0]]; known {
		return fields[0]
	}
	return fmt.Sprint(fields[0], depth)
}

func TestEveryWordHasAGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		input, outcome, _ := strings.Cut(string(text), divider)
		if !strings.HasPrefix(outcome, "{") {
			continue // an error
		}
		global := strings.HasPrefix(input, "{")
		for word := range usedWords(input) {
			if rest, is := strings.CutPrefix(word, "sidegate1 "); is && global {
				used["global "+rest] = true
			}
			if rest, is := strings.CutPrefix(word, "sidegate1 "); is && !global {
				used["site "+rest] = true
			}
			used[word] = true
		}
	}
	for block := range blocks {
		for _, word := range wordsOf(t, block) {
			if !used[block+" "+word] {
				t.Errorf("no golden has %s in %s", word, block)
			}
		}
	}
}

func TestEveryWordIsDocumented(t *testing.T) {
	page := readPage(t, "../docs/caddyfile.md")
	for block := range blocks {
		for _, word := range wordsOf(t, block) {
			if !strings.Contains(page, "`"+word+"`") && !strings.Contains(page, "### "+word+" ") {
				t.Errorf("docs/caddyfile.md does not explain %s in %s", word, block)
			}
		}
	}
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Whoever configures in JSON reads the comments of the fields, on Caddy's site.
func TestEveryJSONFieldIsExplained(t *testing.T) {
	page := readPage(t, "../docs/caddyfile.md")
	var names []string
	for _, pattern := range []string{"*.go", "redis/*.go", "sns/*.go", "sql/*.go"} {
		more, err := filepath.Glob(pattern)
		if err != nil || len(more) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		names = append(names, more...)
	}
	found := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.TypeSpec)
			if !ok || !spec.Name.IsExported() {
				return true
			}
			if fields, ok := spec.Type.(*ast.StructType); ok {
				found += checkFields(t, spec.Name.Name, fields, page)
			}
			return true
		})
	}
	if found < 40 {
		t.Errorf("found %d fields; where are the others?", found)
	}
}

// checkFields counts the fields of a struct that are configuration.
func checkFields(t *testing.T, owner string, fields *ast.StructType, page string) (found int) {
	t.Helper()
	for _, field := range fields.Fields.List {
		name := jsonName(field)
		if name == "" || name == "-" {
			continue
		}
		found++
		comment := strings.TrimSpace(field.Doc.Text() + field.Comment.Text())
		if len(comment) < 10 {
			t.Errorf("%s.%s has no comment that says what it does", owner, name)
		}
		if !regexp.MustCompile("[`\"]" + name + "[`\"]").MatchString(page) {
			t.Errorf("docs/caddyfile.md does not name %q of %s", name, owner)
		}
	}
	return found
}

func jsonName(field *ast.Field) string {
	if field.Tag == nil {
		return ""
	}
	tag, err := strconv.Unquote(field.Tag.Value)
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
	return name
}

var fence = regexp.MustCompile("(?ms)^```caddyfile\n(.*?)^```")

// What the documents show works as it stands, and is written as `caddy fmt`
// writes it.
func TestDocumentedCaddyfiles(t *testing.T) {
	prepareEnvironment(t)
	found := 0
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/decisions/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			for _, block := range fence.FindAllSubmatch([]byte(readPage(t, name)), -1) {
				found++
				if outcome, failure := become(t, string(block[1])); failure {
					t.Errorf("%s: %s\n%s", name, outcome, block[1])
				}
				if formatted := caddyfile.Format(block[1]); !bytes.Equal(formatted, block[1]) {
					t.Errorf("%s: caddy fmt changes a Caddyfile to:\n%s", name, formatted)
				}
			}
		}
	}
	if found < 6 {
		t.Errorf("found %d Caddyfiles in the documents", found)
	}
}

func TestExampleCaddyfiles(t *testing.T) {
	prepareEnvironment(t)
	for _, name := range []string{
		"../Caddyfile.example", "../docs/deploy/Caddyfile", "../docs/deploy/container.Caddyfile", "../docs/deploy/forward-auth/Caddyfile",
	} {
		text := readPage(t, name)
		if outcome, failure := become(t, text); failure {
			t.Errorf("%s: %s", name, outcome)
		}
		if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
			t.Errorf("caddy fmt changes %s to:\n%s", name, formatted)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

// A link between the documents leads to a file that is there.
func TestDocumentLinks(t *testing.T) {
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/decisions/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			for _, target := range link.FindAllStringSubmatch(readPage(t, name), -1) {
				if _, err := os.Stat(filepath.Join(filepath.Dir(name), target[1])); err != nil {
					t.Errorf("%s links to %s: %v", name, target[1], err)
				}
			}
		}
	}
}
