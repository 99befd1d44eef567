package auth

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// profile is what many users share: their type and their roles.
type profile struct {
	kind, rolesText string
	roles           []string
}

// profiles numbers the profiles, so that entries need no pointer to theirs.
// Reading takes no lock: what was handed out is never changed. A number is never
// given again, so an old one leads nowhere, and not to the roles of somebody
// else.
type profiles struct {
	shelf atomic.Pointer[shelf]
	mu    sync.Mutex // of number and tidy
	index map[string]uint32

	// oldest is the first number that entries may have: those before it are
	// about to go, and stay a while for requests on their way.
	oldest atomic.Uint32
	kept   int       // how many the last tidying found in use
	tidied time.Time // when that was
}

// shelf holds the profiles from number first on.
type shelf struct {
	first uint32
	all   []profile
}

const (
	// fewProfiles are not worth looking at; most sites have fewer than ten.
	fewProfiles = 1024
	// tidyEvery is far longer than a request takes to make an identity of a copy
	// of an entry.
	tidyEvery = time.Minute
)

// at finds a profile; there is none when it was dropped in the meantime.
func (p *profiles) at(i uint32) (profile, bool) {
	s := p.shelf.Load()
	if s == nil || i-s.first >= uint32(len(s.all)) {
		return profile{}, false
	}
	return s.all[i-s.first], true
}

func (p *profiles) number(kind string, roles []string) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.add(profile{kind, strings.Join(roles, ","), roles})
}

// add numbers a profile that may have a number. The lock is held.
func (p *profiles) add(one profile) uint32 {
	key := strconv.Itoa(len(one.kind)) + ":" + one.kind + one.rolesText
	if i, ok := p.index[key]; ok {
		return i
	}
	s := p.shelf.Load()
	if s == nil {
		s, p.index = new(shelf), map[string]uint32{}
	}
	one.roles = slices.Clone(one.roles)
	// Readers of the shorter list do not see what comes behind its end.
	p.shelf.Store(&shelf{s.first, append(s.all, one)})
	i := s.first + uint32(len(s.all))
	p.index[key] = i
	return i
}

// crowded reports whether tidying is worth a walk through the table. A directory
// that gives each user roles of its own would else fill the memory with those of
// users who are long gone.
func (p *profiles) crowded(at time.Time) bool {
	s := p.shelf.Load()
	if s == nil || at.Sub(p.tidied) < tidyEvery {
		return false
	}
	made := s.first + uint32(len(s.all)) - p.oldest.Load()
	return int64(made) > int64(2*p.kept+fewProfiles)
}

// tidy drops the profiles that no entry uses: all that are in use get a new
// number, shard by shard. The old numbers hold until the next time.
func (l *Live) tidy(at time.Time) {
	p := &l.profiles
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.crowded(at) {
		return
	}
	s := p.shelf.Load()
	rest := slices.Clone(s.all[p.oldest.Load()-s.first:])
	s = &shelf{p.oldest.Load(), rest}
	p.shelf.Store(s)
	first := s.first + uint32(len(rest))
	p.oldest.Store(first) // from here on insert refuses what is older
	p.index = map[string]uint32{}
	for i := range l.shards {
		l.shards[i].renumber(p, first)
	}
	p.kept, p.tidied = len(p.index), at
}

// renumber gives the profiles in use numbers from first on.
func (s *liveShard) renumber(p *profiles, first uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.index {
		e := &s.table[i]
		if one, ok := p.at(e.profile); ok && older(e.profile, first) {
			e.profile = p.add(one)
		}
	}
}

// older compares numbers, which begin anew after the last.
func older(number, than uint32) bool { return int32(number-than) < 0 }
