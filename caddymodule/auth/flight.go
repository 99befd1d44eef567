package auth

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Flight is a request of a session while it is on its way. It is part of
// whoever carries it out, so that one more request costs no memory of its own:
// the table keeps only the ends of a list through them. The zero Flight is
// ready for Board; its methods are not for use by several goroutines at once.
type Flight struct {
	id         SessionID
	cutter     Cutter
	live       *Live // nil: not on board
	prev, next *Flight
	overSince  int64 // when Sweep first found the session over, or 0
}

// Cutter carries a flight out.
type Cutter interface {
	// Cut ends the request, since its session is over; "" when nobody can say
	// any more whether it is. It comes from a goroutine that has others to cut,
	// again and again until Leave, and perhaps once after.
	Cut(EndReason)
}

// Board takes a request of a session on board, until Leave.
func (l *Live) Board(f *Flight, id SessionID, c Cutter) {
	f.id, f.cutter, f.live, f.overSince = id, c, l, 0
	s := l.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	f.prev, f.next = nil, s.flights
	if f.next != nil {
		f.next.prev = f
	}
	s.flights = f
}

// Leave ends a flight that has arrived, or was cut. More than one is harmless.
func (f *Flight) Leave() {
	if f.live == nil {
		return
	}
	s := f.live.shard(f.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.next != nil {
		f.next.prev = f.prev
	}
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		s.flights = f.next
	}
	f.live, f.prev, f.next = nil, nil, nil
}

// Active notes that the person has sent something on the way.
func (l *Live) Active(id SessionID, at time.Time) { l.touchAt(id, Activity, at.UnixMilli()) }

// CutAll cuts whatever is on board, for a table that nobody will sweep again.
func (l *Live) CutAll() {
	var all []*Flight
	l.eachFlight(func(_ *liveShard, f *Flight) { all = append(all, f) })
	for _, f := range all {
		f.cutter.Cut("")
	}
}

func (l *Live) eachFlight(do func(*liveShard, *Flight)) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		for f := s.flights; f != nil; f = f.next {
			do(s, f)
		}
		s.mu.Unlock()
	}
}

const (
	sweepEvery = 150 * time.Millisecond
	// lastWords is how long a request may go on after its session's end: an app
	// that ends the session of the very request it answers still gets to say so.
	// Less than sweepEvery, or every other sweep would come too early.
	lastWords = 100 * time.Millisecond
	// asking bounds how long a store that hangs keeps a sweep from the next.
	asking = 500 * time.Millisecond
)

// Patrol sweeps until the context ends. rules gives the service whose rules
// hold at the moment; nil is none.
func Patrol(ctx context.Context, rules func() *Service) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s := rules(); s != nil {
				s.Sweep(ctx)
			}
		}
	}
}

// landing is a flight that is to end.
type landing struct {
	*Flight
	reason EndReason
	now    bool // it has had its last words
}

// Sweep cuts the requests whose session has been over for a moment, whoever
// ended it and wherever: it looks at what is in flight, and not at what ends.
// So nothing that ends a session has to think of it, and a request that boards
// at the very end is no special case.
func (s *Service) Sweep(ctx context.Context) {
	over, unknown := s.Live.sweep(s.Now(), s.Settings.IdleTimeout.Milliseconds())
	for _, f := range over {
		f.cutter.Cut(f.reason)
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	s.learnAll(ctx, unknown)
	s.Live.tidy(s.Now())
}

// askers is how many sessions a sweep asks the store about at the same time.
// After a break all that are in flight have to be read before a second is over.
const askers = 32

func (s *Service) learnAll(ctx context.Context, unknown []landing) {
	var next atomic.Int64
	var asked sync.WaitGroup
	for range min(askers, len(unknown)) {
		asked.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(unknown)); i = next.Add(1) - 1 {
				s.learn(ctx, unknown[i])
			}
		})
	}
	asked.Wait()
}

// learn asks the store about a session that the table cannot speak for. While
// the store cannot either, the request goes on: a fault of ours signs nobody out.
func (s *Service) learn(ctx context.Context, f landing) {
	end, _, err := s.Standing(ctx, f.id)
	if isOver(err) {
		end = EndExpired // its record has aged out
	}
	if end != "" && f.now {
		f.cutter.Cut(end)
	}
}

// sweep finds the flights to cut, and those whose session the table cannot
// speak for. While other nodes cannot be heard, all are cut, and nobody is told
// that a session has ended: any of them may have, long ago.
func (l *Live) sweep(at time.Time, idle int64) (over, unknown []landing) {
	now := at.UnixMilli()
	l.eachFlight(func(s *liveShard, f *Flight) {
		reason, known := l.standing(s, f.id, now, idle)
		switch {
		case !l.trusted(s, at):
			if f.over(now) {
				over = append(over, landing{f, "", true})
			}
		case !known:
			unknown = append(unknown, landing{f, "", f.over(now)})
		case reason == "":
			f.overSince = 0
		case f.over(now):
			over = append(over, landing{f, reason, true})
		}
	})
	return over, unknown
}

// over reports whether a flight that may have to end has had its last words. A
// clock that was set back gives it some more.
func (f *Flight) over(now int64) bool {
	if f.overSince == 0 || now < f.overSince {
		f.overSince = now
	}
	return now-f.overSince >= lastWords.Milliseconds()
}

// standing says how a session has ended, "" for not at all, if the table knows:
// an end that was not by the clock is one when the store has it. What is in
// flight keeps its session in the table.
func (l *Live) standing(s *liveShard, id SessionID, now, idle int64) (reason EndReason, known bool) {
	i, found := s.index[id]
	if !found {
		return "", false
	}
	e := &s.table[i]
	e.usedAt = now
	known = l.judge(s, e, now, idle)
	reason = e.end.reason()
	byClock := reason == EndExpired || reason == EndIdle
	return reason, known && (reason == "" || byClock || e.settled)
}
