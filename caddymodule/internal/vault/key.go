package vault

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxKeyFile bounds what is read of a key file: a key takes 65 bytes.
const maxKeyFile = 4096

var errKeyForm = errors.New("the master key must be 32 random bytes in base64 or hex; make one with: openssl rand -base64 32")

// ParseKey reads a master key: 32 bytes in base64 (either alphabet, with or
// without padding) or hex. White space around it is dropped. No error shows
// any of the text.
func ParseKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	var key []byte
	var err error
	if len(text) == hex.EncodedLen(KeySize) {
		key, err = hex.DecodeString(text)
	} else {
		key, err = parseBase64Key(text)
	}
	if err != nil || len(key) != KeySize {
		return nil, errKeyForm
	}
	// A placeholder such as AAAA…A= has the right length and protects nothing.
	if bytes.Count(key, key[:1]) == len(key) {
		return nil, errKeyForm
	}
	return key, nil
}

func parseBase64Key(text string) ([]byte, error) {
	text = strings.TrimSuffix(text, "=")
	if len(text) != base64.RawStdEncoding.EncodedLen(KeySize) {
		return nil, errKeyForm
	}
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	return encoding.Strict().DecodeString(text)
}

// LoadOrCreateKey reads the master key of a file, and makes both on first run.
// When several processes start at once, all get the same key. A file that
// others than its owner may read is refused: then the key is no secret.
func LoadOrCreateKey(path string) ([]byte, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	err = createKey(path)
	if err == nil || errors.Is(err, fs.ErrExist) { // ours, or that of a process that was faster
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("making master key %s: %w", path, err)
	}
	return loadKey(path)
}

func loadKey(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading master key: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading master key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("master key %s is not a regular file", path)
	}
	// Windows has access lists instead, and shows 0666 for every file.
	if open := info.Mode().Perm() & 0o077; open != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("master key %s can be read or changed by others (mode %04o): run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("reading master key: %w", err)
	}
	key, err := ParseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("master key %s: %w", path, err)
	}
	return key, nil
}

// createKey puts a new key in place, whole and durable before it has its name:
// a key that is used and then lost to a crash would make the store unreadable.
func createKey(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := stageKey(dir, NewKey())
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	// Unlike a rename, a link never replaces the key of another process.
	return os.Link(temp, path)
}

// NewKey makes a key.
func NewKey() []byte {
	key := make([]byte, KeySize)
	rand.Read(key) // never fails
	return key
}

// stagePrefix begins the names of keys that are not in place yet.
const stagePrefix = ".master-key-"

// stageKey writes a key to a new file of the directory, mode 0600.
func stageKey(dir string, key []byte) (name string, err error) {
	temp, err := os.CreateTemp(dir, stagePrefix+"*")
	if err != nil {
		return "", err
	}
	if err := writeKey(temp, key); err != nil {
		return "", errors.Join(err, os.Remove(temp.Name()))
	}
	return temp.Name(), nil
}

func writeKey(file *os.File, key []byte) error {
	_, err := file.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	return errors.Join(err, file.Sync(), file.Close())
}

// syncDir makes a new name in a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // cannot be done, and need not be
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
