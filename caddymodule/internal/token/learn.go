package token

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// learner reads the keys anew for the sake of a token whose key is not known:
// another node may have signed it with a key that it made a moment ago, since
// keys were revoked or since it was configured with another algorithm.
type learner struct {
	begun   atomic.Int64  // readings so far
	reading chan struct{} // full while somebody reads
	at      time.Time     // the last one's
	err     error         // the last one's

	seed    maphash.Seed
	strange [strangers]atomic.Pointer[stranger] // headers that were looked for in vain
}

type stranger struct {
	header string
	at     time.Time
}

const (
	// learnEvery bounds what strangers can make us read: a header like ours is
	// easily made up.
	learnEvery   = 250 * time.Millisecond
	learnTimeout = 5 * time.Second
	// strangeFor is how long a key that is not there is not looked for again.
	// After a revocation every client comes with a token of one.
	strangeFor = time.Second
	strangers  = 64
)

func newLearner() *learner {
	return &learner{seed: maphash.MakeSeed(), reading: make(chan struct{}, 1)}
}

// learn finds the key of a token's header. The error is a fault of the store.
func (k *Keys) learn(header string) error {
	if !likeOurs(header) {
		return nil
	}
	l := k.learner
	arrived := l.begun.Load()
	seen := &l.strange[maphash.String(l.seed, header)%strangers]
	if s := seen.Load(); s != nil && s.header == header && time.Since(s.at) < strangeFor {
		return nil
	}
	err := k.read(arrived)
	if _, known := k.ring.Load().byHeader[header]; err == nil && !known {
		seen.Store(&stranger{header, time.Now()})
	}
	return err
}

// read reloads the keys, for all tokens that have come since the last time at
// once: a key is in the store before anything is signed with it, so a reading
// that began after a token came says all that there is to say of it.
func (k *Keys) read(arrived int64) error {
	l := k.learner
	l.reading <- struct{}{}
	defer func() { <-l.reading }()
	if l.begun.Load() > arrived {
		return l.err
	}
	time.Sleep(time.Until(l.at.Add(learnEvery)))
	l.begun.Add(1)
	l.at = time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), learnTimeout)
	defer cancel()
	l.err = k.Reload(ctx)
	return l.err
}

// likeOurs reports whether the header is one that some key of some node could
// write.
func likeOurs(encoded string) bool {
	text, err := base64url.DecodeString(encoded)
	if err != nil {
		return false
	}
	var h struct{ Alg, Kid string }
	if json.Unmarshal(text, &h) != nil || !slices.Contains(algorithms, h.Alg) {
		return false
	}
	const thumbprint = 43 // letters of a SHA-256
	if len(h.Kid) != thumbprint || strings.ContainsFunc(h.Kid, foreign) {
		return false
	}
	same, err := header(h.Alg, h.Kid)
	return err == nil && same == encoded
}
