package notify

import "context"

// atOnce is how many notices are brought into the store together: under a flood
// each lane is then written seldom.
const atOnce = 512

// write brings what waits in memory into the store.
func (b *Outbox) write() {
	for {
		select {
		case n := <-b.later:
			b.writeAll(append([]Notice{n}, b.drain(atOnce)...))
		case <-b.ctx.Done():
			b.writeAll(b.drain(laterRoom))
			return
		}
	}
}

func (b *Outbox) drain(most int) (notices []Notice) {
	for range most {
		select {
		case n := <-b.later:
			notices = append(notices, n)
		default:
			return notices
		}
	}
	return notices
}

// writeAll writes notices, a lane at a time.
func (b *Outbox) writeAll(notices []Notice) {
	of := map[int][]Notice{}
	for _, n := range notices {
		of[n.lane()] = append(of[n.lane()], n)
	}
	for i, part := range of {
		if !b.writeLane(i, part) {
			b.count(droppedStore, len(part))
		}
	}
}

// writeLane tries for some minutes until the store takes notices, or once when
// Caddy stops. A lane that is damaged must not hold up all others for ever.
func (b *Outbox) writeLane(i int, part []Notice) bool {
	for wait := firstPause; wait < longestPause; wait *= 2 {
		last := b.ctx.Err() != nil
		ctx, cancel := context.WithTimeout(b.posting, writeWait)
		err := b.add(ctx, i, part...)
		cancel()
		if err == nil {
			return true
		}
		if last {
			return false
		}
		sleep(b.ctx, wait)
	}
	return false
}
