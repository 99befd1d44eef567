package badgerstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// TestMain makes the test binary its own child: with a role in the environment
// it is a process that a test wants to kill, or to compete with.
func TestMain(m *testing.M) {
	role, path := os.Getenv("STORE_ROLE"), os.Getenv("STORE_PATH")
	switch role {
	case "":
		os.Exit(m.Run())
	case "write":
		childWrites(path)
	case "hold":
		childHolds(path)
	case "erase":
		childErases(path)
	}
}

// childWrites swaps for ever, on many keys, and prints what was answered.
func childWrites(path string) {
	s, err := Open(Options{Path: path, Seal: testSeal()})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var out sync.Mutex
	for i := range 16 {
		go func() {
			key, v := fmt.Sprintf("key/%d", i), auth.Version(0)
			for n := 1; ; n++ {
				value := fmt.Appendf(make([]byte, 0, 8<<10), "%d ", n)
				w := auth.Write{Key: key, Value: value[:cap(value)], Ending: true}
				next, err := s.Swap(context.Background(), v, w)
				out.Lock()
				fmt.Println("ok", key, n, err)
				out.Unlock()
				v = next
			}
		}()
	}
	select {}
}

// childErases writes of pairs of new owners for ever, erases one of each, and
// prints what was answered.
func childErases(path string) {
	ctx := context.Background()
	s, err := Open(Options{Path: path, Seal: testSeal(), LockWait: 5 * time.Second})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for range 8 {
		go func() {
			for {
				gone, stays := rand.Uint64()>>1|1, rand.Uint64()>>1&^1
				_, err := s.Swap(ctx, 0, ownedBy(gone))
				_, err2 := s.Swap(ctx, 0, ownedBy(stays))
				if err = errors.Join(err, err2, s.Erase(ctx, gone, time.Now().Add(time.Minute))); err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				fmt.Printf("erased user/%d\nkept user/%d\n", gone, stays)
			}
		}()
	}
	select {}
}

func childHolds(path string) {
	if _, err := Open(Options{Path: path, Seal: testSeal()}); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println("holding")
	select {}
}

func child(t *testing.T, role, path string) (lines *bufio.Scanner, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STORE_ROLE="+role, "STORE_PATH="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		cmd.Process.Kill()
		io.Copy(io.Discard, out)
		cmd.Wait()
	})
	t.Cleanup(kill)
	return bufio.NewScanner(out), kill
}

// TestKilledProcessLosesNothingAnswered writes across several logs (16 MiB
// each), kills, and opens again, twice.
func TestKilledProcessLosesNothingAnswered(t *testing.T) {
	path, answered := t.TempDir(), map[string]int{}
	lines, kill := child(t, "write", path)
	for n := 0; n < 6000 && lines.Scan(); n++ {
		noteAnswer(t, lines.Text(), answered)
	}
	kill()
	for lines.Scan() { // answered before the kill, too
		noteAnswer(t, lines.Text(), answered)
	}
	if len(answered) != 16 {
		t.Fatalf("%d keys answered", len(answered))
	}
	for range 2 {
		s := openTest(t, Options{Path: path, LockWait: 5 * time.Second})
		for key, n := range answered {
			records, err := s.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			got, _, _ := strings.Cut(string(records[0].Value), " ")
			if have, _ := strconv.Atoi(got); have < n {
				t.Errorf("%s: answered %d, found %q", key, n, got)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func noteAnswer(t *testing.T, line string, answered map[string]int) {
	t.Helper()
	f := strings.Fields(line)
	if len(f) < 4 {
		return // cut by the kill
	}
	n, err := strconv.Atoi(f[2])
	if err != nil || f[0] != "ok" || f[3] != "<nil>" {
		t.Fatalf("child: %s", line)
	}
	answered[f[1]] = max(answered[f[1]], n)
}

func TestOnlyOneProcessOpens(t *testing.T) {
	path := t.TempDir()
	lines, kill := child(t, "hold", path)
	if !lines.Scan() || lines.Text() != "holding" {
		t.Fatalf("child: %q", lines.Text())
	}
	refused(t, Options{Path: path, LockWait: 50 * time.Millisecond}, "in use by another process")
	// A killed holder leaves no lock; Open waits for one that is about to go.
	time.AfterFunc(100*time.Millisecond, kill)
	openTest(t, Options{Path: path, LockWait: 30 * time.Second})
}

// refused checks that a store does not open, and why.
func refused(t *testing.T, opt Options, why string) {
	t.Helper()
	if opt.LockWait == 0 {
		opt.LockWait = -1
	}
	opt.Seal = testSeal()
	s, err := Open(opt)
	if err == nil {
		s.Close()
		t.Fatalf("opened, want %q", why)
	}
	wantUnavailable(t, err, why)
}
