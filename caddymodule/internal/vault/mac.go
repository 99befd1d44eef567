package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// macPool lends HMAC-SHA256 states of one key. A state that was used once
// knows its key's inner and outer block, so a MAC costs two blocks less and no
// allocation.
type macPool struct{ pool sync.Pool }

// mac is a lent state. What is to be authenticated is gathered in in, because
// what is handed to a hash.Hash directly moves to the heap.
type mac struct {
	hash hash.Hash
	in   []byte
	out  [sha256.Size]byte
}

func newMACPool(key []byte) *macPool {
	p := new(macPool)
	p.pool.New = func() any { return &mac{hash: hmac.New(sha256.New, key), in: make([]byte, 0, 128)} }
	return p
}

// get lends a state with an empty in.
func (p *macPool) get() *mac {
	m := p.pool.Get().(*mac)
	m.in = m.in[:0]
	return m
}

// put takes a state back; neither it nor its sum may be used afterwards.
func (p *macPool) put(m *mac) { p.pool.Put(m) }

// sum is the MAC of in. It is valid until the state is put back.
func (m *mac) sum() []byte {
	m.hash.Reset()
	m.hash.Write(m.in)
	return m.hash.Sum(m.out[:0])
}
