package token

import (
	"sync"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// verified is what is remembered of a token. It has no pointer, and neither has
// its key, so the garbage collector passes the whole table by.
type verified struct {
	proof   auth.Proof
	expires int64 // Unix seconds
}

// cache maps the SHA-256 of a token's whole text to what was verified. Only a
// collision of SHA-256 could pass a text off as another, so the hash must not
// be weakened for speed. Refusals are not kept: a stranger could fill it.
type cache struct {
	shards [shards]shard
	limit  int // entries of one shard
}

type shard struct {
	mutex   sync.RWMutex
	entries map[[32]byte]verified
	_       [64]byte // keeps neighbours' locks on other cache lines
}

const shards = 64

func newCache(size int) *cache {
	c := &cache{limit: max(1, size/shards)}
	for i := range c.shards {
		c.shards[i].entries = make(map[[32]byte]verified)
	}
	return c
}

func (c *cache) get(sum [32]byte) (verified, bool) {
	s := &c.shards[sum[0]%shards]
	s.mutex.RLock()
	v, hit := s.entries[sum]
	s.mutex.RUnlock()
	return v, hit
}

// put remembers a token. It looks at a few others, which the map picks at
// random, drops the expired ones, and when the shard is full, the one of these
// that expires first: all tokens live equally long, so that is the oldest.
func (c *cache) put(sum [32]byte, v verified, now int64) {
	s := &c.shards[sum[0]%shards]
	s.mutex.Lock()
	defer s.mutex.Unlock()
	looks := 8
	var oldest [32]byte
	expires := int64(0)
	for other, o := range s.entries {
		if o.expires <= now {
			delete(s.entries, other)
		} else if expires == 0 || o.expires < expires {
			oldest, expires = other, o.expires
		}
		if looks--; looks == 0 {
			break
		}
	}
	if len(s.entries) >= c.limit {
		delete(s.entries, oldest)
	}
	s.entries[sum] = v
}
