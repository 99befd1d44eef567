package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestReadProfileSumsByPackage(t *testing.T) {
	const profile = `mode: atomic
example.com/a/one.go:1.2,3.4 6 1
example.com/a/two.go:1.2,3.4 2 0
example.com/a/b/one.go:1.2,3.4 1 4294967295
`
	got, err := readProfile(strings.NewReader(profile))
	want := map[string]coverage{"example.com/a": {6, 8}, "example.com/a/b": {1, 1}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"nonsense", "a/b.go:1.2,3.4 x 1", "a/b.go:1.2,3.4 1"} {
		if _, err := readProfile(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestJudgeWantsNinetyPercent(t *testing.T) {
	for _, test := range []struct {
		name       string
		auth, gate coverage
		passes     bool
	}{
		{"both at the mark", coverage{9, 10}, coverage{90, 100}, true},
		{"one below it", coverage{10, 10}, coverage{899, 1000}, false},
		{"one without any tests", coverage{10, 10}, coverage{}, false},
	} {
		err := judge(map[string]coverage{covered[0]: test.auth, covered[1]: test.gate})
		if (err == nil) != test.passes {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
}

func TestEveryStepRunsAndEveryFailureIsNamed(t *testing.T) {
	var ran int
	count := func(err error) func(context.Context) error {
		return func(context.Context) error { ran++; return err }
	}
	err := runSteps(t.Context(), []step{
		{"one", count(errors.New("broken"))}, {"two", count(nil)}, {"three", count(errors.New("broken"))},
	})
	if ran != 3 || err == nil || err.Error() != "one, three" {
		t.Errorf("ran %d steps, got %v", ran, err)
	}
}

// The checks of sources look at what git tracks, and see what is wrong there.
func TestSourcesOfAClone(t *testing.T) {
	t.Chdir(t.TempDir())
	files := map[string]string{
		"good.go":      "package a\n",
		"bad.go":       "package  a\n",
		"broken.go":    "package\n",
		"untracked.go": "package  a\n",
		"a_test.go":    "package a\n\nfunc FuzzOne(f *testing.F) {\n}\n\nfunc FuzzNot(t *testing.T) {\n}\n",
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "good.go", "bad.go", "broken.go", "a_test.go"}} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
	}
	err := gofmt(t.Context())
	for name, wanted := range map[string]bool{"good.go": false, "bad.go": true, "broken.go": true, "untracked.go": false} {
		if got := err != nil && strings.Contains(err.Error(), name); got != wanted {
			t.Errorf("gofmt named %s: %v, want %v (%v)", name, got, wanted, err)
		}
	}
	targets, err := fuzzTargets(t.Context())
	if want := []fuzzTarget{{".", "FuzzOne"}}; err != nil || !reflect.DeepEqual(targets, want) {
		t.Errorf("got %v, %v; want %v", targets, err, want)
	}
}

func TestOnlyWhatIsMissingIsInstalled(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"inpath", "hidden"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	got := missing([]program{
		{"inpath", "", []string{"a"}},
		{"elsewhere", filepath.Join(dir, "hid*"), []string{"b"}},
		{"nowhere", "", []string{"c", "d"}},
		{"gone", filepath.Join(dir, "gone*"), []string{"e"}},
	})
	if want := []string{"c", "d", "e"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
