package badgerstore

import "sync"

// knownOwners remembers the slots of owners, which are numbers and no secrets,
// so that a touch need not look its owner up.
type knownOwners struct {
	mu    sync.Mutex
	slots map[uint64]uint64
}

const mostKnown = 1 << 18 // about 10 MB

func (k *knownOwners) slot(owner uint64) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.slots[owner]
}

func (k *knownOwners) note(owner, slot uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.slots == nil || len(k.slots) >= mostKnown {
		k.slots = map[uint64]uint64{}
	}
	k.slots[owner] = slot
}

func (k *knownOwners) forget(owner uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.slots, owner)
}
