package token

import (
	"hash/maphash"
	"math/rand/v2"
	"sync/atomic"
)

// hot holds the tokens of those who ask often, by their text. It spares the
// SHA-256 of a busy client's token, which is a fifth of what the gate does, and
// takes no lock. The texts are compared whole, so the hash need not be a strong
// one; it is compared first, since the time of a comparison that stops at the
// first difference would tell a stranger how far a guess is right.
type hot struct {
	seed  maphash.Seed
	slots [hotSlots]atomic.Pointer[hotToken]
}

const (
	hotSlots = 1 << 12 // few enough for the garbage collector not to notice them
	// hotAfter is how many uses it takes, about, to get in: more clients than
	// slots must not push each other out at every request.
	hotAfter = 16
)

type hotToken struct {
	hash     uint64
	text     string
	verified verified
}

func newHot() *hot { return &hot{seed: maphash.MakeSeed()} }

// get finds a token. hash is for offer.
func (h *hot) get(text string) (v verified, hash uint64, hit bool) {
	hash = maphash.String(h.seed, text)
	t := h.slots[hash%hotSlots].Load()
	if t == nil || t.hash != hash || t.text != text {
		return v, hash, false
	}
	return t.verified, hash, true
}

// offer takes in a token now and then, in place of whatever shares its slot.
func (h *hot) offer(text string, hash uint64, v verified) {
	if rand.Uint32N(hotAfter) == 0 {
		h.slots[hash%hotSlots].Store(&hotToken{hash, text, v})
	}
}
