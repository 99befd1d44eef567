package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// What follows is for guests in packages of their own, so that their keys in a
// Caddyfile behave as ours.

// Key reads what stands behind one key of a block.
type Key = func(d *caddyfile.Dispenser) error

// ReadKeys reads the block of the current line. An unknown key, or one that is
// given twice, is an error with its position.
func ReadKeys(d *caddyfile.Dispenser, keys map[string]Key) error {
	known := words{}
	for name, key := range keys {
		known[name] = key
	}
	return block(d, known)
}

// TextKey reads one text.
func TextKey(to *string) Key { return textWord(to) }

// SecretKey reads one text, and refuses a secret that came out of {$NAME}:
// Caddy would keep it in the clear.
func SecretKey(to *string) Key { return secretWord(to) }

// NumberKey reads one whole number above 0.
func NumberKey(to *int) Key { return numberWord(to) }

// TimeoutKey reads how long one attempt may take, 100ms to 30s.
func TimeoutKey(to *caddy.Duration) Key { return timeoutWord(to) }

// CheckTimeout holds a timeout to the range of TimeoutKey; zero is the default.
func CheckTimeout(d caddy.Duration) error { return checkTimeout(d) }

// WaitKey reads how long a question of a sign-in may take, 100ms to 8s: it ends
// before the sign-in does, which may take 10 s.
func WaitKey(to *caddy.Duration) Key { return waitWord(to) }

// CheckWait holds a timeout to the range of WaitKey; zero is the default.
func CheckWait(d caddy.Duration) error { return checkWait(d) }

// Resolve fills the placeholders {env.*} and {file.*} of a key's value in. One
// that gives nothing is an error: an empty secret would protect nothing.
func Resolve(key, value string) (string, error) { return resolve(caddy.NewReplacer(), key, value) }
