package caddymodule

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/metrics"
)

// herald carries events to the handlers of Caddy's events app, which run a
// command or whatever they are made for. They are called one after the other
// away from the requests: one that hangs or fails holds nobody up. While it does,
// events wait, and when too many do, further ones are dropped and counted.
type herald struct {
	emit  func(auth.Event)
	log   *slog.Logger
	drops metrics.Subscriber

	waiting  chan auth.Event
	begin    sync.Once
	stopping chan struct{} // closed when no more events are taken
	stopped  atomic.Bool
	left     atomic.Bool   // nobody waits for the handlers any more
	ended    chan struct{} // closed when the goroutine has ended
}

const (
	// heraldRoom is how many events may wait: what happens in some seconds on a
	// busy site.
	heraldRoom = 4096
	// handlersWait bounds how long a reload waits for handlers.
	handlersWait = 2 * time.Second
)

// newHerald subscribes to the moment at which all apps run: before it, nobody
// may look at who has subscribed to what.
func newHerald(ctx caddy.Context, log *slog.Logger) (*herald, error) {
	guest, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	app := guest.(*caddyevents.App)
	// Events of the last requests are told when the configuration's own context
	// has ended.
	ctx.Context = context.WithoutCancel(ctx.Context)
	h := &herald{
		emit: func(e auth.Event) {
			if name := "sidegate." + string(e.Name); app.ShouldEmit(name) {
				app.Emit(ctx, name, eventData(e))
			}
		},
		log: log, drops: meters.Subscriber("handlers"),
		waiting: make(chan auth.Event, heraldRoom), stopping: make(chan struct{}), ended: make(chan struct{}),
	}
	return h, app.On("started", h)
}

// Handle implements caddyevents.Handler: it begins the work. stop ends it.
func (h *herald) Handle(context.Context, caddy.Event) error {
	h.begin.Do(func() { go h.work() })
	return nil
}

// tell takes an event and returns at once.
func (h *herald) tell(e auth.Event) {
	if h.stopped.Load() {
		h.drops.Dropped(metrics.DroppedFull, 1)
		return
	}
	select {
	case h.waiting <- e:
	default:
		h.drops.Dropped(metrics.DroppedFull, 1)
	}
}

func (h *herald) work() {
	defer close(h.ended)
	for {
		select {
		case e := <-h.waiting:
			h.pass(e)
		case <-h.stopping:
			for len(h.waiting) > 0 && !h.left.Load() { // nobody else takes any
				h.pass(<-h.waiting)
			}
			h.drops.Dropped(metrics.DroppedFull, len(h.waiting))
			return
		}
	}
}

// pass calls the handlers. A panic of theirs is theirs alone.
func (h *herald) pass(e auth.Event) {
	defer func() {
		if fault := recover(); fault != nil {
			h.log.Error("panic in an event handler", "event", e.Name, "panic", fmt.Sprint(fault), "stack", string(debug.Stack()))
		}
	}()
	h.emit(e)
}

// stop takes no more events and waits for the handlers of those that wait, but
// not for ever: what waits behind one that hangs is dropped when that ends.
func (h *herald) stop() {
	if h.stopped.Swap(true) {
		return
	}
	h.begin.Do(func() { close(h.ended) }) // it never began, and will not
	close(h.stopping)
	select {
	case <-h.ended:
	case <-time.After(handlersWait):
		h.left.Store(true)
		h.log.Warn("an event handler is still busy; events that wait behind it are dropped", "events", len(h.waiting))
	}
}

// eventData is what handlers, and the debug log, see of an event. Names are
// those of the JSON API.
func eventData(e auth.Event) map[string]any {
	data := map[string]any{"at": e.At.UTC().Format(time.RFC3339Nano)}
	for name, value := range map[string]string{
		"cause": e.Cause, "device_id": e.DeviceID, "subject": e.Subject, "country": e.Country,
		"channel": e.Channel, "client_ip": e.ClientIP,
	} {
		if value != "" {
			data[name] = value
		}
	}
	if e.UserID != 0 {
		data["auth_user_id"] = e.UserID
	}
	if e.SessionID != (auth.SessionID{}) {
		data["session_id"] = e.SessionID.String()
	}
	return data
}

// Interface guard
var _ caddyevents.Handler = (*herald)(nil)
