package auth

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// profile is what many users share: their type and their roles.
type profile struct {
	kind, rolesText string
	roles           []string
}

// profiles numbers the profiles, so that entries need no pointer to theirs.
// Reading takes no lock: the list is replaced, never changed.
type profiles struct {
	list  atomic.Pointer[[]profile]
	mu    sync.Mutex // of number
	index map[string]uint32
}

func (p *profiles) at(i uint32) profile { return (*p.list.Load())[i] }

func (p *profiles) number(kind string, roles []string) uint32 {
	text := strings.Join(roles, ",")
	key := strconv.Itoa(len(kind)) + ":" + kind + text
	p.mu.Lock()
	defer p.mu.Unlock()
	if i, ok := p.index[key]; ok {
		return i
	}
	var list []profile
	if old := p.list.Load(); old != nil {
		list = *old
	} else {
		p.index = map[string]uint32{}
	}
	grown := append(slices.Clip(list), profile{kind, text, slices.Clone(roles)})
	p.list.Store(&grown)
	p.index[key] = uint32(len(list))
	return uint32(len(list))
}
