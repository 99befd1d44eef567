package badgerstore

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// space watches how much is free on the disk. Asking costs a system call, so
// an answer holds for a second, or until a share of the floor was written.
type space struct {
	floor uint64
	ask   func() (uint64, error)

	mu      sync.Mutex
	free    uint64
	err     error
	until   time.Time
	written uint64
}

func newSpace(path string, floor uint64) *space {
	return &space{floor: floor, ask: func() (uint64, error) { return freeBytes(path) }}
}

func freeBytes(path string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

// lastShare of the floor is left alone even by writes that end sessions: they
// would not be lost, the process would.
const lastShare = 8

// check refuses a write of that size when too little is free. An ending write
// may use what is below the floor.
func (s *space) check(ending bool, size int) error {
	free, err := s.left(uint64(size))
	if err != nil {
		return fmt.Errorf("%w: asking for free space: %w", auth.ErrUnavailable, err)
	}
	need := s.floor
	if ending {
		need /= lastShare
	}
	if free < need {
		return fmt.Errorf("%w: the disk is full: %d MiB free, %d MiB needed", auth.ErrUnavailable, free>>20, need>>20)
	}
	return nil
}

func (s *space) left(size uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += size
	if now := time.Now(); now.After(s.until) || s.written > s.floor/lastShare {
		s.free, s.err = s.ask()
		s.until, s.written = now.Add(time.Second), 0
	}
	return s.free, s.err
}
