package vault

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func testVault(t testing.TB, fill byte) *Vault {
	t.Helper()
	v, err := New(bytes.Repeat([]byte{fill}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNewRefusesOtherLengths(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33, 64} {
		if _, err := New(make([]byte, n)); err == nil {
			t.Errorf("New took %d bytes", n)
		}
	}
}

// What is derived must never change by accident: it would make every index
// miss and every ticket invalid after an update.
func TestDerivedValuesAreFixed(t *testing.T) {
	v := testVault(t, 7)
	ticket := auth.Ticket{Kind: auth.RefreshTicket, SessionID: auth.SessionID{1, 2, 3}, Generation: 4}
	for _, c := range []struct{ name, got, want string }{
		{"code", v.Code("challenge", 6), "725432"},
		{"index", v.Index("phone", "+46701234567"), "phr-pSoDCQZd8-oCqvzl_WIfJ74I0qmIu5a3RB23pvo"},
		{"ticket", v.Ticket(ticket), "sgr1_AQIDAAAAAAAAAAAAAAAAAAAAAAShtEqoa4btw9dmWEa_IGU6oPOlpNYbtbmZzTtPZJClBQ"},
		{"fingerprint", v.Fingerprint(), "47abd5aff962d64dd33ba9b788baa3b1"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}

func TestIndexKeepsItsUsesApart(t *testing.T) {
	v := testVault(t, 1)
	seen := map[string]string{}
	for _, c := range [][2]string{{"phone", "1"}, {"phone", "2"}, {"ip", "1"}, {"phon", "e1"}, {"phone1", ""}, {"", "phone1"}} {
		index := v.Index(c[0], c[1])
		if other, taken := seen[index]; taken {
			t.Errorf("%q has the index of %q", c, other)
		}
		seen[index] = c[0] + "|" + c[1]
		if index != v.Index(c[0], c[1]) {
			t.Errorf("%q: another index at the second call", c)
		}
	}
	if v.Index("phone", "1") == testVault(t, 2).Index("phone", "1") {
		t.Error("two master keys give the same index")
	}
}

func TestTicketRefusals(t *testing.T) {
	v := testVault(t, 1)
	refresh := v.Ticket(auth.Ticket{Kind: auth.RefreshTicket, SessionID: auth.NewSessionID(), Generation: 3})
	for _, c := range []struct{ name, text string }{
		{"empty", ""},
		{"prefix alone", refreshPrefix},
		{"a refresh token in a cookie's dress", cookiePrefix + refresh[prefixSize:]},
		{"unknown prefix", "sgx1_" + refresh[prefixSize:]},
		{"prefix in capitals", "SGR1_" + refresh[prefixSize:]},
		{"one letter short", refresh[:len(refresh)-1]},
		{"one letter long", refresh + "A"},
		{"padding", refresh + "=="},
		{"line break at the end", refresh + "\n"},
		{"line break inside", refresh[:20] + "\n" + refresh[21:]},
		{"two line breaks inside", refresh[:20] + "\r\n" + refresh[22:]},
		{"of another master key", testVault(t, 2).Ticket(auth.Ticket{Kind: auth.RefreshTicket})},
	} {
		if _, ok := v.ParseTicket(c.text); ok {
			t.Errorf("%s: accepted", c.name)
		}
	}
	if got := v.Ticket(auth.Ticket{Kind: 9}); got != "" {
		t.Errorf("unknown kind gave %q", got)
	}
}

// Attack: without strict decoding the last letter's four unused bits make 15
// more texts of one ticket.
func TestTicketHasOneSpelling(t *testing.T) {
	v := testVault(t, 1)
	text := v.Ticket(auth.Ticket{Kind: auth.RefreshTicket, SessionID: auth.NewSessionID(), Generation: 3})
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/="
	for i := range text {
		for _, letter := range []byte(letters) {
			if altered := text[:i] + string(letter) + text[i+1:]; altered != text {
				if _, ok := v.ParseTicket(altered); ok {
					t.Errorf("letter %d as %q: accepted", i, letter)
				}
			}
		}
	}
}

func TestParseKey(t *testing.T) {
	key := make([]byte, KeySize)
	for i := range key {
		key[i] = byte(251 + 5*i)
	}
	std := base64.StdEncoding.EncodeToString(key)
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"base64", std, true},
		{"base64 with white space around", " \t" + std + "\r\n", true},
		{"base64 without padding", strings.TrimRight(std, "="), true},
		{"base64url", base64.URLEncoding.EncodeToString(key), true},
		{"base64url without padding", base64.RawURLEncoding.EncodeToString(key), true},
		{"hex", hex.EncodeToString(key), true},
		{"hex in capitals", strings.ToUpper(hex.EncodeToString(key)), true},
		{"empty", "", false},
		{"white space", " \n", false},
		{"too short", base64.StdEncoding.EncodeToString(key[:31]), false},
		{"too long", base64.StdEncoding.EncodeToString(append(key, 1)), false},
		{"too much padding", std + "=", false},
		{"both alphabets", "-/" + std[2:], false},
		{"bits left over", std[:42] + "J", false},
		{"line break inside", std[:10] + "\n" + std[10:], false},
		{"hex with a stray letter", "g" + hex.EncodeToString(key)[1:], false},
		{"a placeholder of zeros", strings.Repeat("0", 64), false},
		{"a placeholder of one letter", strings.Repeat("A", 43), false},
		{"a pass phrase", "correct horse battery staple, thirty-two and more", false},
	} {
		got, err := ParseKey(c.text)
		if (err == nil) != c.ok || c.ok && !bytes.Equal(got, key) {
			t.Errorf("%s: got %x, %v", c.name, got, err)
		}
		if err != nil && len(c.text) > 20 && strings.Contains(err.Error(), c.text[:20]) {
			t.Errorf("%s: the error shows the key: %v", c.name, err)
		}
	}
}

func TestKeyFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "master.key")
	keys := make([][]byte, 16)
	var group sync.WaitGroup
	for i := range keys {
		group.Go(func() {
			key, err := LoadOrCreateKey(path)
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	group.Wait()
	for i := range keys {
		if !bytes.Equal(keys[i], keys[0]) || len(keys[i]) != KeySize {
			t.Errorf("start %d got another key", i)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("temporary files are left: %v", entries)
	}
}

func TestKeyFileRefusals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	dir := t.TempDir()
	good := strings.Repeat("0a1b", 16)
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	blocked := write("file", "", 0o600)
	for _, c := range []struct{ name, path, says string }{
		{"readable by the group", write("group", good, 0o640), "chmod 600"},
		{"readable by the world", write("world", good, 0o604), "chmod 600"},
		{"writable by the group", write("writable", good, 0o620), "chmod 600"},
		{"empty", write("empty", "", 0o600), "openssl rand"},
		{"text after the key", write("more", good+"\n"+good, 0o600), "openssl rand"},
		{"a directory", dir, "not a regular file"},
		{"below a file", filepath.Join(blocked, "key"), "reading master key"},
		{"in a directory that cannot be made", "/proc/none/key", "making master key"},
	} {
		_, err := LoadOrCreateKey(c.path)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
	if _, err := LoadOrCreateKey(write("good", good+"\n", 0o400)); err != nil {
		t.Errorf("a good file: %v", err)
	}
}
