package notify

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// work delivers what waits in every workers-th lane, from lane first on.
func (b *Outbox) work(first int) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	b.look(first)
	for {
		for i := first; i < lanes && b.ctx.Err() == nil; i += workers {
			if b.hints[i].Swap(false) {
				b.empty(i)
			}
		}
		select {
		case <-b.wakes[first]:
		case <-tick.C:
			b.look(first)
		case <-b.ctx.Done():
			return
		}
	}
}

// look reads the lanes of a worker: what another node has left, or we before a
// restart, is there without a hint.
func (b *Outbox) look(first int) {
	var keys []string
	for i := first; i < lanes; i += workers {
		keys = append(keys, b.key(i))
	}
	records, err := b.Store.Get(b.ctx, keys...)
	if err != nil {
		return // the store's trouble is told by those who need it
	}
	for j, r := range records {
		i := first + j*workers
		l, err := decode(r)
		if err != nil {
			b.Log.Error("reading what waits for a receiver of events", "error", err)
			continue
		}
		b.saw(i, len(l.Notices))
		if len(l.Notices) > 0 {
			b.hints[i].Store(true)
		}
	}
}

// empty delivers a lane until nothing is left. It gives up when another node has
// it, or the store does not answer: a later look finds the rest. When the
// receiver fails the other lanes come first, since it may want all but one.
func (b *Outbox) empty(i int) {
	for b.pause.wait(b.ctx) {
		began, notices, err := b.lease(i)
		if err != nil || len(notices) == 0 {
			return
		}
		done, works := b.postAll(began, notices)
		if err := b.settle(i, done); err != nil {
			b.Log.Warn("events will be delivered once more, since the store did not note that they are", "events", len(done), "error", err)
			return
		}
		if !works {
			b.hint(i)
			return
		}
	}
}

// lease takes the first notices of a lane for a while.
func (b *Outbox) lease(i int) (began time.Time, notices []Notice, err error) {
	began = b.Now()
	err = b.update(b.ctx, i, func(l *lane) bool {
		notices = nil
		if !l.lease(b.holder, began, b.Timeout+2*leaseSpare) {
			return false
		}
		notices = l.Notices[:min(batch, len(l.Notices))]
		return true
	})
	return began, notices, err
}

// settle notes what the receiver has, also while Caddy stops: it must not be
// sent again.
func (b *Outbox) settle(i int, done map[string]bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), writeWait)
	defer cancel()
	return b.update(ctx, i, func(l *lane) bool {
		l.settle(b.holder, done)
		return true
	})
}

// postAll delivers notices in their order, as long as the receiver takes them
// and the lease has time left for one more.
func (b *Outbox) postAll(began time.Time, notices []Notice) (done map[string]bool, works bool) {
	done = map[string]bool{}
	for _, n := range notices {
		if b.ctx.Err() != nil || b.Now().Sub(began) > leaseSpare {
			return done, true
		}
		err := b.post(n)
		if err != nil && !errors.Is(err, ErrRefused) {
			return done, false
		}
		done[n.ID] = true
	}
	return done, true
}

// Outcomes of Counter.Posted.
const (
	outcomeDelivered = "delivered"
	outcomeRefused   = "refused"
	outcomeFailed    = "failed"
)

// post is one attempt. A receiver that works ends the pause.
func (b *Outbox) post(n Notice) error {
	body, err := json.Marshal(n)
	if err != nil {
		return errors.Join(ErrRefused, err)
	}
	ctx, cancel := context.WithTimeout(b.posting, b.Timeout)
	defer cancel()
	err = b.Post(ctx, n.ID, body)
	switch {
	case err == nil:
		b.Counter.Posted(outcomeDelivered)
	case errors.Is(err, ErrRefused):
		b.Counter.Posted(outcomeRefused)
		b.Log.Warn("a receiver of events refused one", "event", n.Name, "id", n.ID, "error", err)
	case b.posting.Err() != nil:
		return err // cut short by us: it says nothing of the receiver
	default:
		b.Counter.Posted(outcomeFailed)
		if wait, news := b.pause.fail(); news {
			b.Log.Error("a receiver of events is down; they wait for it", "error", err, "retry_after", wait.String())
		}
		return err
	}
	if b.pause.end() {
		b.Log.Info("a receiver of events works again")
	}
	return err
}
