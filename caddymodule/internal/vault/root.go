package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// RootRecord is the name of the record that holds the root key, from which all
// other keys follow. The root key never changes; it stands here wrapped under
// each master key that may open the store, so a master key can be replaced
// without touching another record. Whoever takes the record without such a key
// has noise.
//
//	format 1 ‖ wraps, 84 bytes each ‖ check 4
//
// A wrap is
//
//	fingerprint of the master key 16 ‖ made, Unix seconds 8 ‖ nonce 12 ‖ root key 32 ‖ tag 16
const RootRecord = "vault/root"

const (
	rootFormat = 1
	printSize  = 16
	wrapHead   = printSize + 8
	wrapSize   = wrapHead + 12 + KeySize + 16
	checkSize  = 4

	// maxWraps is far more than one rotation needs; each is a way in.
	maxWraps = 8
)

// wrap is the root key under one master key.
type wrap [wrapSize]byte

type wraps []wrap

func (w wrap) fingerprint() string { return hex.EncodeToString(w[:printSize]) }

func (w wrap) made() time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(w[printSize:wrapHead])), 0).UTC()
}

// ErrOtherMaster says that a master key does not open the store.
var ErrOtherMaster = fmt.Errorf("%w: sealed with another master key; start with the one that opens this store", auth.ErrUnavailable)

var errRootDamaged = fmt.Errorf("%w: the record of the root key is damaged; restore a backup", auth.ErrUnavailable)

// parseWraps reads the record. The check tells a flipped bit in a fingerprint
// from another master key; against those who can make a new check, the tags
// stand.
func parseWraps(value []byte) (wraps, error) {
	body := len(value) - 1 - checkSize
	if body < wrapSize || body%wrapSize != 0 || body/wrapSize > maxWraps || value[0] != rootFormat {
		return nil, errRootDamaged
	}
	if check := checkOf(value[:1+body]); !bytes.Equal(check, value[1+body:]) {
		return nil, errRootDamaged
	}
	w := make(wraps, body/wrapSize)
	for i := range w {
		copy(w[i][:], value[1+i*wrapSize:])
	}
	return w, nil
}

func (w wraps) encode() []byte {
	value := make([]byte, 1, 1+len(w)*wrapSize+checkSize)
	value[0] = rootFormat
	for i := range w {
		value = append(value, w[i][:]...)
	}
	return append(value, checkOf(value)...)
}

func checkOf(value []byte) []byte {
	sum := sha256.Sum256(value)
	return sum[:checkSize]
}

// of finds the wrap of a master key.
func (w wraps) of(m *Master) (i int, found bool) {
	for i := range w {
		if w[i].fingerprint() == m.fingerprint {
			return i, true
		}
	}
	return 0, false
}

// open unwraps the root key.
func (w wraps) open(m *Master) ([]byte, error) {
	i, found := w.of(m)
	if !found {
		return nil, ErrOtherMaster
	}
	head := w[i][:wrapHead]
	root, err := m.wrapping.Open(nil, nil, w[i][wrapHead:], wrapped(head))
	if err != nil || len(root) != KeySize {
		return nil, errRootDamaged
	}
	return root, nil
}

// with adds the root key under one more master key.
func (w wraps) with(root []byte, m *Master, now time.Time) (wraps, error) {
	if len(w) == maxWraps {
		return nil, ErrManyMasters
	}
	var next wrap
	print, err := hex.DecodeString(m.fingerprint)
	if err != nil {
		return nil, fmt.Errorf("wrapping the root key: %w", err)
	}
	head := binary.BigEndian.AppendUint64(print, uint64(now.Unix()))
	copy(next[:], m.wrapping.Seal(head, nil, root, wrapped(head)))
	return append(append(wraps(nil), w...), next), nil
}

// wrapped is what a wrap's tag covers besides the root key.
func wrapped(head []byte) []byte { return append([]byte(RootRecord), head...) }

// ErrManyMasters says that no more master keys may open the store.
var ErrManyMasters = errors.New("too many master keys open this store: retire the old ones first")

// Master is a master key, ready to wrap the root key. The key itself is not
// kept.
type Master struct {
	fingerprint string
	wrapping    cipher.AEAD
}

// NewMaster takes a master key of KeySize random bytes.
func NewMaster(key []byte) (*Master, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("the master key has %d bytes, it needs %d", len(key), KeySize)
	}
	print, err := subkey(key, "sidegate/1 fingerprint", printSize)
	if err != nil {
		return nil, err
	}
	wrapping, err := subkey(key, "sidegate/1 wrap", KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(wrapping)
	if err != nil {
		return nil, fmt.Errorf("using the master key: %w", err)
	}
	// A handful of wraps under one key: random nonces are safe.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("using the master key: %w", err)
	}
	return &Master{hex.EncodeToString(print), aead}, nil
}

// Fingerprint tells two master keys apart without saying anything of them. It
// may be stored and logged.
func (m *Master) Fingerprint() string { return m.fingerprint }
