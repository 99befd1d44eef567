//go:build unix

package vault

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func shell(script string, args ...string) Command {
	return Command{append([]string{"/bin/sh", "-c", script, "sh"}, args...), 5 * time.Second}
}

func TestCommandGivesTheKey(t *testing.T) {
	t.Setenv("KEY_SERVICE_TOKEN", strings.Repeat("0a1b", 16)) // what the command needs to know
	for name, c := range map[string]Command{
		"as it is":           shell(`printf 0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b`),
		"white space around": shell(`printf '\n 0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b \r\n'`),
		"an argument":        shell(`echo "$1"`, strings.Repeat("0a1b", 16)),
		"the environment":    shell(`echo "$KEY_SERVICE_TOKEN"`),
		"complaints":         shell(`echo warning >&2; echo "$KEY_SERVICE_TOKEN"`),
		"a child is left":    shell(`sleep 3 & echo "$KEY_SERVICE_TOKEN"`),
	} {
		key, err := c.Key(t.Context())
		if err != nil || !bytes.Equal(key, bytes.Repeat([]byte{0x0a, 0x1b}, 16)) {
			t.Errorf("%s: got %x, %v", name, key, err)
		}
	}
}

func TestCommandRefusals(t *testing.T) {
	secret := strings.Repeat("5ec2e7", 11)
	slow := shell(`echo ` + secret + `; exec sleep 60`)
	slow.Timeout = 200 * time.Millisecond
	for _, c := range []struct {
		name    string
		command Command
		says    string
	}{
		{"it fails", shell(`echo ` + secret + ` | tee /dev/stderr; exit 3`), "the command sh gives no key; run it by hand to see why: exit status 3"},
		{"no key", shell(`echo ` + secret), "the command sh wrote no key: the master key must be 32 random bytes"},
		{"nothing", shell(`:`), "wrote no key"},
		{"a key and more", shell(`printf 0a1b%.0s $(seq 16); echo; echo more`), "wrote no key"},
		{"without end", shell(`yes ' ' | head -c 1000000; printf 0a1b%.0s $(seq 16)`), "wrote no key"},
		{"it does not end", slow, "did not end in 200ms"},
		{"it is not there", Command{[]string{"no-such-command-here", secret}, time.Second}, "no-such-command-here gives no key"},
	} {
		_, err := c.command.Key(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "5ec2e7") {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
}

func TestCommandIsKilledWithItsChildren(t *testing.T) {
	beat := filepath.Join(t.TempDir(), "beat")
	c := shell(`(while :; do echo x >>"$1"; sleep 0.02; done) & wait`, beat)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.Key(ctx); err == nil {
		t.Fatal("a command that does not end gave a key")
	}
	size := func() int64 {
		info, err := os.Stat(beat)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before := size()
	<-time.After(200 * time.Millisecond) // the child is dead when the file no longer grows
	if size() != before {
		t.Error("a child of the command outlives its timeout")
	}
}
