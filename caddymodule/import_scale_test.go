package caddymodule_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// importUsers says how many users TestImportOfAWholeTown brings in, for a run at
// full size: SIDEGATE_TEST_USERS=1000000.
const importUsers = "SIDEGATE_TEST_USERS"

func townSize(t *testing.T) int {
	text := os.Getenv(importUsers)
	if text == "" {
		return 5000
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 || n > 9_000_000 {
		t.Fatalf("%s is %q", importUsers, text)
	}
	return n
}

// town is a file of users with conflicts planted among them.
type town struct {
	file  string
	size  int
	lines int
	want  []string // the conflicts
}

// spellings of a number are all the same one.
func spelling(i int) string {
	digits := fmt.Sprintf("%07d", i)
	return []string{"+4670" + digits, "+46 70 " + digits, "+46-70-" + digits, "+46 (70) " + digits}[i%4]
}

// newTown writes n users, and beside every hundredth of them a line that must be
// reported. The ids begin at 1000.
func newTown(t *testing.T, dir string, n int) *town {
	t.Helper()
	tw := &town{file: filepath.Join(dir, "town.csv"), size: n, lines: n}
	file, err := os.Create(tw.file)
	if err != nil {
		t.Fatal(err)
	}
	out, line := bufio.NewWriter(file), 1
	write := func(format string, args ...any) {
		line++
		fmt.Fprintf(out, format+"\n", args...)
	}
	fmt.Fprintln(out, "auth_user_id,phone,user_roles,created_at")
	for i := range n {
		write("%d,%s,,2020-01-01T00:00:%02dZ", 1000+i, spelling(i), i%60)
		if i%100 != 99 {
			continue
		}
		tw.lines++
		earlier := rand.IntN(i)
		switch i / 100 % 5 {
		case 0: // the number of an earlier line, spelt in another way
			write("%d,+46 7 0 %07d,,", 20_000_000+i, earlier)
			tw.want = append(tw.want, fmt.Sprintf("line %d: phone_repeated", line))
		case 1:
			write("%d,+4673%07d,,", 1000+earlier, i)
			tw.want = append(tw.want, fmt.Sprintf("line %d: id_repeated", line))
		case 2:
			write("%d,+4673%07d", 20_000_000+i, i)
			tw.want = append(tw.want, fmt.Sprintf("line %d: line_invalid", line))
		case 3:
			write("%d,070%07d,,", 20_000_000+i, i)
			tw.want = append(tw.want, fmt.Sprintf("line %d: phone_invalid", line))
		case 4: // the id of somebody who is there
			write("1,+4673%07d,,", i)
			code := "id_repeated"
			if i == 499 {
				code = "user_exists"
			}
			tw.want = append(tw.want, fmt.Sprintf("line %d: %s", line, code))
		}
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(tw.want)
	return tw
}

// registry is a Caddy in a process of its own, with its admin endpoint.
type registry struct {
	*office
	*child
	caddyfile string
}

func startRegistry(t *testing.T) *registry {
	t.Helper()
	r := &registry{office: newOffice(t, socket(t))}
	r.caddyfile = r.config(plenty, "")
	r.child = startChild(t, r.caddyfile)
	return r
}

// restart kills the server, and starts another one over its store.
func (r *registry) restart() {
	r.child.kill()
	r.door.CloseIdleConnections()
	r.child = startChild(r.t, r.caddyfile)
}

// command is a running `caddy sidegate`, in a process of its own.
func (r *registry) command(args ...string) (cmd *exec.Cmd, out *bytes.Buffer) {
	r.t.Helper()
	cmd, out = exec.Command(os.Args[0], append([]string{"sidegate"}, append(args, "--address", r.address)...)...), new(bytes.Buffer)
	cmd.Env = append(os.Environ(), childCommand+"=1")
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, out
}

// imports runs an import to its end, holds its conflicts to those that were
// planted, and gives its last line.
func (r *registry) imports(tw *town, args ...string) string {
	r.t.Helper()
	begun, peak := time.Now(), r.watch()
	cmd, out := r.command(append([]string{"users", "import", tw.file}, args...)...)
	if err := cmd.Wait(); err == nil {
		r.t.Errorf("%v: no conflicts", args)
	}
	server := peak()
	if server.own > mostMemory && !raceDetector {
		r.t.Errorf("%v: the server took %d MB", args, server.own)
	}
	if got := conflictsIn(out.String()); !slices.Equal(got, tw.want) {
		r.t.Errorf("%v: %d conflicts, want %d; the first: %.200q, want %.200q", args, len(got), len(tw.want), got, tw.want)
	}
	took := time.Since(begun)
	r.t.Logf("%v: %d lines in %v, %.0f a second; peak memory: server %d MB (%d MB with mapped files), command %d MB",
		args, tw.lines, took.Round(time.Millisecond), float64(tw.lines)/took.Seconds(), server.own, server.all, peakOf(cmd)/1024)
	said := strings.Split(strings.TrimSpace(out.String()), "\n")
	return said[len(said)-1]
}

// until waits until the user with this place in the town is there.
func (r *registry) until(place int) {
	r.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Millisecond) {
		if r.ask("GET", fmt.Sprintf("users/%d", 1000+place), "").status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("user %d never came", place)
		}
	}
}

// exported is all that the server says of its users, as a file.
func (r *registry) exported(name string) string {
	r.t.Helper()
	file, err := os.Create(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(os.Args[0], "sidegate", "users", "export", "--address", r.address)
	cmd.Env, cmd.Stdout = append(os.Environ(), childCommand+"=1"), file
	if err := cmd.Run(); err != nil {
		r.t.Fatal(err)
	}
	return file.Name()
}

// footprint is the memory of a process, in MB: its own, and with what it shows of files, which the
// kernel takes back when it likes; 0 where the kernel does not say.
type footprint struct{ own, all int }

// mostMemory is what a server may take for an import, whatever its size.
const mostMemory = 768

// watch measures the server until the answer is called, which gives the most.
func (r *registry) watch() (peak func() footprint) {
	stop, most := make(chan struct{}), make(chan footprint)
	go func() {
		var m footprint
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			now := memoryOf(r.child.cmd.Process.Pid)
			m = footprint{max(m.own, now.own), max(m.all, now.all)}
			select {
			case <-tick.C:
			case <-stop:
				most <- m
				return
			}
		}
	}()
	return func() footprint { close(stop); return <-most }
}

func memoryOf(pid int) (m footprint) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kb, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "RssAnon":
			m.own = kb / 1024
		case "VmHWM":
			m.all = kb / 1024
		}
	}
	return m
}

// A whole town, imported without and with kills of both sides in the middle: the
// planted conflicts are reported, all of them and nothing else, and in the end
// the users are the same.
func TestImportOfAWholeTown(t *testing.T) {
	t.Parallel()
	whole, killed := startRegistry(t), startRegistry(t)
	tw := newTown(t, whole.dir, townSize(t))
	first := func(r *registry) {
		wants(t, "the user who is there", r.ask("POST", "users/import", `{"phone":"+46740000000","auth_user_id":1,"created_at":"2020-01-01T00:00:00Z"}`, "Content-Type", "application/x-ndjson"), 200, "")
	}
	first(whole)
	first(killed)
	sums := func(new, known int, would string) string {
		return fmt.Sprintf("%d lines: %d users %snew, %d as they were, %d conflicts.", tw.lines, new, would, known, len(tw.want))
	}
	if got, want := whole.imports(tw, "--dry-run"), sums(tw.size, 0, "would be "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := whole.imports(tw), sums(tw.size, 0, ""); got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	command, _ := killed.command("users", "import", tw.file)
	killed.until(tw.size / 4)
	_ = command.Process.Kill()
	_ = command.Wait()
	command, _ = killed.command("users", "import", tw.file)
	killed.until(tw.size / 2)
	killed.restart()
	if err := command.Wait(); err == nil {
		t.Error("the command says nothing of a server that died")
	}
	got := killed.imports(tw)
	var new, known int
	if _, err := fmt.Sscanf(got, fmt.Sprintf("%d lines: %%d users new, %%d as they were", tw.lines), &new, &known); err != nil || new+known != tw.size || known == 0 {
		t.Errorf("got %s", got)
	}
	sameFiles(t, whole.exported("whole"), killed.exported("killed"))
}

// sameFiles compares two exports, which a store gives in an order of its own.
func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	var all [2][]string
	for i, name := range []string{a, b} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = strings.SplitAfter(string(text), "\n")
		slices.Sort(all[i])
	}
	if len(all[0]) != len(all[1]) {
		t.Fatalf("%d lines, and %d in the other", len(all[0]), len(all[1]))
	}
	for i, line := range all[0] {
		if line != all[1][i] {
			t.Fatalf("%q is %q in the other", line, all[1][i])
		}
	}
}
