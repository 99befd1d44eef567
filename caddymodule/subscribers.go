package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/metrics"
	"github.com/sidegate/sidegate/caddymodule/internal/notify"
)

// subscribers are all who hear of events under one configuration: the audit, the
// metrics, the handlers of Caddy's events app, and the notifiers.
type subscribers struct {
	record   func(auth.Event)
	herald   *herald
	outboxes []*notify.Outbox
	counters []metrics.Subscriber // of the outboxes
}

// subscribe opens the outboxes. What earlier configurations, and other nodes,
// have left in the store is delivered too.
func (a *App) subscribe(e *engine) *subscribers {
	s := &subscribers{
		record: func(event auth.Event) { e.audit.record(event, a.auditLog) },
		herald: a.herald,
	}
	for i, n := range a.notifiers {
		name := a.notifierName(i)
		counter := meters.Subscriber(name)
		s.counters = append(s.counters, counter)
		s.outboxes = append(s.outboxes, notify.Open(notify.Options{
			Store: e.store, Key: "notify/" + e.vault.Index("notify", n.Address()), Wants: n.Wants, Post: n.Notify,
			Timeout: n.Limit(), Counter: counter, Log: a.log.With("notify", name),
		}))
	}
	return s
}

// notifierName is what metrics and logs call a notifier; of several with one
// name, the second and all later ones have a number.
func (a *App) notifierName(i int) string {
	name, same := a.notifiers[i].Name(), 1
	for _, earlier := range a.notifiers[:i] {
		if earlier.Name() == name {
			same++
		}
	}
	if same == 1 {
		return name
	}
	return name + " " + strconv.Itoa(same)
}

// checkNotifiers refuses two of one address: they would take each other's
// events.
func (a *App) checkNotifiers() error {
	seen := map[string]bool{}
	for _, n := range a.notifiers {
		if seen[n.Address()] {
			return fmt.Errorf("notify: %s is given twice with one address; keep one, and name all events in it", n.Name())
		}
		seen[n.Address()] = true
	}
	return nil
}

// tell is auth.Service.Tell. The outboxes come last: they wait for the disk.
func (s *subscribers) tell(e auth.Event) {
	s.record(e)
	meters.Event(e)
	s.herald.tell(e)
	for _, b := range s.outboxes {
		b.Tell(e)
	}
}

// close ends all deliveries. What waits in the store goes on waiting.
func (s *subscribers) close(ctx context.Context) (err error) {
	for i, b := range s.outboxes {
		err = errors.Join(err, b.Close(ctx))
		s.counters[i].Gone()
	}
	return err
}
