package backup

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Summary is what a backup has.
type Summary struct {
	At      time.Time      `json:"at"`
	Root    []byte         `json:"-"` // it is a secret
	Records int            `json:"records"`
	Kinds   map[string]int `json:"kinds"` // how many of each
}

// maxLine holds the largest value of the store's contract in base64, and its
// key.
const maxLine = 128 << 10

var (
	errKey     = errors.New("this key does not open the backup")
	errDamaged = errors.New("the backup is damaged, altered or cut off")
)

// Read reads a backup and gives visit its records, one after the other. Only
// when it returns without an error was the backup whole: what visit has done
// until then must be undone after any error.
func Read(from io.Reader, k Key, visit func(auth.Write) error) (Summary, error) {
	s := Summary{Kinds: map[string]int{}}
	ids, err := k.identities()
	if err != nil {
		return s, err
	}
	plain, err := age.Decrypt(from, ids...)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return s, errKey
	case err != nil:
		return s, fmt.Errorf("%w: it has no head of age", errDamaged) // age's error repeats what stands there
	}
	lines := bufio.NewScanner(plain)
	lines.Buffer(nil, maxLine)
	of, err := head(lines)
	if err != nil {
		return s, err
	}
	s.At, s.Root = of.At, of.Root
	return s, s.read(lines, visit)
}

func head(lines *bufio.Scanner) (Origin, error) {
	var h header
	if !lines.Scan() {
		return h.Origin, damage(lines)
	}
	switch err := strict(lines.Bytes(), &h); {
	case err != nil:
		return h.Origin, fmt.Errorf("%w: its first line is no header", errDamaged)
	case h.Format != format:
		return h.Origin, fmt.Errorf("the backup has format %d, and this program reads %d", h.Format, format)
	case len(h.Root) == 0:
		return h.Origin, fmt.Errorf("%w: it has no root key", errDamaged)
	}
	return h.Origin, nil
}

func (s *Summary) read(lines *bufio.Scanner, visit func(auth.Write) error) error {
	for lines.Scan() {
		var l line
		if err := strict(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("%w: line %d is not whole", errDamaged, s.Records+2)
		}
		if l.Records != nil {
			return s.end(lines, *l.Records)
		}
		if l.Key == "" || l.Value == nil || l.Expires < 0 {
			return fmt.Errorf("%w: line %d is no record", errDamaged, s.Records+2)
		}
		w := auth.Write{Key: l.Key, Value: l.Value, Owner: l.Owner}
		if l.Expires != 0 {
			w.Expires = time.UnixMilli(l.Expires)
		}
		kind, _, _ := strings.Cut(l.Key, "/")
		s.Kinds[kind]++
		s.Records++
		if err := visit(w); err != nil {
			return err
		}
	}
	return damage(lines)
}

// end holds the trailer to what came before it. Nothing may follow.
func (s *Summary) end(lines *bufio.Scanner, records int) error {
	switch {
	case records != s.Records:
		return fmt.Errorf("%w: it has %d records and counts %d", errDamaged, s.Records, records)
	case lines.Scan():
		return fmt.Errorf("%w: something follows its end", errDamaged)
	case lines.Err() != nil:
		return damage(lines)
	}
	return nil
}

func damage(lines *bufio.Scanner) error {
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return fmt.Errorf("%w: its end is missing", errDamaged)
}

func strict(text []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}
