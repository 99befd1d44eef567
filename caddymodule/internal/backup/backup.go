// Package backup reads and writes the file of a backup: lines of JSON inside an
// age file (age-encryption.org/v1), which is encrypted to a key of its own and
// authenticated chunk by chunk. The first line is the header, the last one counts
// the records between them, so that a file that was cut off, by whomever and
// wherever, is never taken for a whole one.
package backup

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Lock says for whom a backup is encrypted: one of the two is given.
type Lock struct {
	Recipient  string // a public key, age1…
	Passphrase string
}

// Key opens a backup.
type Key struct {
	Identity   string // what an identity file has: AGE-SECRET-KEY-1…, one a line
	Passphrase string
}

// format is the header's number.
const format = 1

type header struct {
	Format int `json:"sidegate_backup"`
	Origin
}

// Origin says of what store the records are.
type Origin struct {
	At   time.Time `json:"at"`       // just before the moment of the records
	Root []byte    `json:"root_key"` // what its keys hide, and its clients hold, follows from it
}

// line is a record or, as the last one, the trailer.
type line struct {
	Key     string `json:"key,omitempty"`
	Value   []byte `json:"value"`
	Expires int64  `json:"expires,omitempty"` // Unix milliseconds; 0: never
	Owner   uint64 `json:"owner,omitempty"`   // whom it is about
	Records *int   `json:"records,omitempty"` // the trailer's
}

// minPassphrase keeps out what is guessed in an afternoon, even through scrypt.
const minPassphrase = 12

func (l Lock) recipients() ([]age.Recipient, error) {
	switch {
	case l.Recipient != "" && l.Passphrase == "":
		r, err := age.ParseX25519Recipient(l.Recipient)
		if err != nil {
			return nil, errors.New("the recipient is no public key of age; it begins with age1")
		}
		return []age.Recipient{r}, nil
	case l.Recipient == "" && len(l.Passphrase) >= minPassphrase:
		r, err := age.NewScryptRecipient(l.Passphrase)
		return []age.Recipient{r}, err
	case l.Recipient == "" && l.Passphrase != "":
		return nil, fmt.Errorf("the passphrase has fewer than %d bytes", minPassphrase)
	}
	return nil, errors.New("name a recipient or a passphrase, and not both")
}

func (k Key) identities() ([]age.Identity, error) {
	switch {
	case k.Identity != "" && k.Passphrase == "":
		// age's own error repeats what it could not read.
		ids, err := age.ParseIdentities(strings.NewReader(k.Identity))
		if err != nil {
			return nil, errors.New("the identity file holds no key of age; such a line begins with AGE-SECRET-KEY-1")
		}
		return ids, nil
	case k.Identity == "" && k.Passphrase != "":
		id, err := age.NewScryptIdentity(k.Passphrase)
		return []age.Identity{id}, err
	}
	return nil, errors.New("name an identity or a passphrase, and not both")
}

// NewKey makes a key: the text of an identity file, and the recipient to encrypt
// for.
func NewKey() (identity, recipient string, err error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", fmt.Errorf("making a key: %w", err)
	}
	recipient = id.Recipient().String()
	return fmt.Sprintf("# public key: %s\n%s\n", recipient, id), recipient, nil
}

// Writer writes one backup.
type Writer struct {
	age     io.WriteCloser
	buffer  *bufio.Writer
	lines   *json.Encoder
	records int
}

// Check refuses a lock that nothing can be written for.
func (l Lock) Check() error {
	_, err := l.recipients()
	return err
}

// NewWriter begins a backup.
func NewWriter(to io.Writer, l Lock, of Origin) (*Writer, error) {
	recipients, err := l.recipients()
	if err != nil {
		return nil, err
	}
	sealed, err := age.Encrypt(to, recipients...)
	if err != nil {
		return nil, fmt.Errorf("beginning a backup: %w", err)
	}
	w := &Writer{age: sealed, buffer: bufio.NewWriterSize(sealed, 64<<10)}
	w.lines = json.NewEncoder(w.buffer)
	w.lines.SetEscapeHTML(false)
	of.At = of.At.UTC()
	return w, w.lines.Encode(header{format, of})
}

// Write adds a record.
func (w *Writer) Write(r auth.Write) error {
	l := line{Key: r.Key, Value: r.Value, Owner: r.Owner}
	if !r.Expires.IsZero() {
		l.Expires = r.Expires.UnixMilli()
	}
	w.records++
	return w.lines.Encode(l)
}

// Close ends the backup. Without it the file is refused.
func (w *Writer) Close() error {
	err := w.lines.Encode(line{Records: &w.records})
	if err == nil {
		err = w.buffer.Flush()
	}
	if err != nil {
		return err
	}
	return w.age.Close()
}
