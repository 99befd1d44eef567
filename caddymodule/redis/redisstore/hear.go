package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// ear is one connection to one server, from its opening to its end.
type ear struct {
	rueidis.DedicatedClient
	follower *follower
	address  string
	felt     chan struct{} // the server has announced a beat
}

// hear follows one server over one connection, until that breaks.
func (f *follower) hear(ctx context.Context, address string, node rueidis.Client) error {
	conn, _ := node.Dedicate()
	defer conn.Close()
	e := &ear{DedicatedClient: conn, follower: f, address: address, felt: make(chan struct{}, 1)}
	conn.SetOnInvalidations(e.announced)
	if err := e.track(ctx); err != nil {
		return err
	}
	// What happened before is not announced.
	f.listener.ChangedAll()
	for ctx.Err() == nil {
		at := time.Now()
		err := e.beat(ctx, at)
		if _, refused := refusalOf(err); err != nil && !refused {
			return err
		}
		// A server that refuses may be a replica, or wait until its Cluster
		// agrees. The connection stays good.
		f.fault(address, err)
		pause(ctx, time.Until(at.Add(beat)))
	}
	return ctx.Err()
}

// track asks the server to announce changes.
func (e *ear) track(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	args := []string{"TRACKING", "ON", "BCAST", "PREFIX", e.follower.store.pulses}
	for _, prefix := range e.follower.prefixes {
		args = append(args, "PREFIX", e.follower.store.opt.Prefix+prefix)
	}
	err := e.Do(ctx, e.B().Arbitrary("CLIENT").Args(args...).Build()).Error()
	if err != nil {
		err = fmt.Errorf("asking for announcements of changes (CLIENT TRACKING): %w", err)
	}
	if _, refused := refusalOf(err); refused && !passing(err) {
		e.follower.begin(unavailable("hearing of other nodes", err))
	}
	return err
}

// announced takes what the server announces: the keys that have changed, or
// nothing when all have or the connection is over.
func (e *ear) announced(keys []rueidis.RedisMessage) {
	if keys == nil {
		e.follower.listener.ChangedAll()
		return
	}
	for _, message := range keys {
		key, err := message.ToString()
		if err != nil {
			e.follower.listener.ChangedAll()
			return
		}
		if strings.HasPrefix(key, e.follower.store.pulses) {
			e.feel()
			continue
		}
		e.follower.listener.Changed(strings.TrimPrefix(key, e.follower.store.opt.Prefix))
	}
}

func (e *ear) feel() {
	select {
	case e.felt <- struct{}{}:
	default:
	}
}

var errSilent = errors.New("it takes writes, and does not announce them")

// beat lets the server prove that it holds its slots, takes writes, and
// announces them.
func (e *ear) beat(ctx context.Context, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s := e.follower.store
	spans, err := s.claims(ctx, e.address, e)
	if err != nil || spans == nil {
		return err
	}
	select {
	case <-e.felt: // of a key that has expired
	default:
	}
	if err := e.Do(ctx, s.pulse(keyAt(s.pulses, spans))).Error(); err != nil {
		return err
	}
	select {
	case <-e.felt:
	case <-ctx.Done():
		return errSilent
	}
	e.follower.prove(e.address, proof{at, spans})
	return nil
}
