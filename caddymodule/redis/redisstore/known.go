package redisstore

import (
	"strings"
	"sync"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// known remembers owners and slots, wrapped as they are, so that not each touch
// has to ask for them. As with sessions, it believes them only while the changes
// of other nodes are heard; where nobody follows, it remembers nothing.
type known struct {
	mu      sync.Mutex
	trusted time.Time
	changes uint64 // counts what was heard
	records map[string]auth.Record
}

const (
	ownerPrefix = "owner/"
	slotPrefix  = "slot/"
	mostKnown   = 1 << 16 // of about 250 bytes
)

// at is taken before a record is read that note is to be told of.
func (k *known) at() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changes
}

// note keeps a record unless something has changed since it was asked for: it
// may have been this one.
func (k *known) note(name string, r auth.Record, at uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.changes != at || r.Version == 0 || !time.Now().Before(k.trusted) {
		return
	}
	if k.records == nil || len(k.records) >= mostKnown {
		k.records = map[string]auth.Record{}
	}
	k.records[name] = r
}

func (k *known) record(name string) (auth.Record, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, found := k.records[name]
	return r, found && time.Now().Before(k.trusted)
}

func (k *known) forget(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes++
	delete(k.records, name)
}

func (k *known) forgetAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes++
	k.records = nil
}

func (k *known) trustUntil(t time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.trusted = t
}

// attentive passes on what is heard, and keeps what is known true.
type attentive struct {
	auth.Listener
	known *known
}

func (a attentive) Changed(key string) {
	if strings.HasPrefix(key, ownerPrefix) || strings.HasPrefix(key, slotPrefix) {
		a.known.forget(key)
		return
	}
	a.Listener.Changed(key)
}

func (a attentive) ChangedAll() {
	a.known.forgetAll()
	a.Listener.ChangedAll()
}

func (a attentive) TrustUntil(t time.Time) {
	a.known.trustUntil(t)
	a.Listener.TrustUntil(t)
}
