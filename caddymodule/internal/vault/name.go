package vault

import (
	"slices"
	"strings"
)

// Stores that keep their keys where they stay readable (a file that only grows)
// keep the name of a key instead: keyed hashes of all that begins it, segment by
// segment. Names of keys that begin with the same segments begin alike, so their
// records can be walked. The last hash is long enough that no two keys ever have
// one name; the others may collide, and whoever walks looks at the keys.
const (
	leafSize   = 16
	branchSize = 8

	hiddenName = 'h'
	openName   = 'o'
)

// readable are the keys that must be found before there is a root key. They say
// nothing of anybody.
var readable = []string{"vault/", "keys/"}

// Name is what stands for a record's key.
func (v *Vault) Name(key string) []byte {
	if isReadable(key) {
		return append([]byte{openName}, key...)
	}
	m := v.names.get()
	defer v.names.put(m)
	m.in = append(append(m.in, 1), key...)
	return append(v.Branch(key[:strings.LastIndexByte(key, '/')+1]), m.sum()[:leafSize]...)
}

// Branch is how the names of all keys begin that begin with a prefix, which ends
// with a slash.
func (v *Vault) Branch(prefix string) []byte {
	if isReadable(prefix) {
		return append([]byte{openName}, prefix...)
	}
	name := []byte{hiddenName}
	m := v.names.get()
	defer v.names.put(m)
	for i := range len(prefix) {
		if prefix[i] == '/' {
			m.in = append(append(m.in[:0], 0), prefix[:i+1]...)
			name = append(name, m.sum()[:branchSize]...)
		}
	}
	return name
}

func isReadable(key string) bool {
	return slices.ContainsFunc(readable, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}
