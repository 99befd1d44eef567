// Package sender carries codes to phones: a queue that tries one sender after
// the other, the senders, and the text that people read.
package sender

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Sender hands one message to somebody who delivers it.
type Sender interface {
	// Name tells senders apart in logs and errors. It holds no secret.
	Name() string
	// Send returns nil once the message was taken over. It is called from many
	// goroutines at once and ends soon after its context does. Its errors never
	// hold the code, the number, or a secret; one that wraps ErrRefused means
	// that the sender works and does not want this message.
	Send(ctx context.Context, m auth.Message) error
}

// ErrRefused is a sender's verdict on one message, such as a number out of
// service. The next sender is tried, but the sender counts as working:
// otherwise three bad numbers from a stranger would switch it off for all.
var ErrRefused = errors.New("the sender refused the message")

// limited is what a Sender may be as well: one with a time limit of its own for
// an attempt. Zero leaves it to the queue.
type limited interface{ Limit() time.Duration }

// Signature returns the value of the X-Sidegate-Signature header: the
// HMAC-SHA256 of timestamp, a full stop and the body, in hex. The timestamp is
// signed too, so that a receiver can refuse what was recorded and played again.
func Signature(secret []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(timestamp)) // never fails
	mac.Write([]byte("."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// encode is the one JSON form in which senders pass a message on. Times are in
// UTC and whole seconds, which every reader of RFC 3339 understands.
func encode(m auth.Message) ([]byte, error) {
	m.ExpiresAt = m.ExpiresAt.UTC().Truncate(time.Second)
	return json.Marshal(m)
}
