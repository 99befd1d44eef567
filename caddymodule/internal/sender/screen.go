package sender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Screen decides whether a message may go out, before any sender has it.
type Screen interface {
	// Name is what logs call it. It holds no secret.
	Name() string
	// Judge reports whether the message may go out. An error means that the
	// screen cannot tell, whatever it reports. It is called from many goroutines
	// at once and ends soon after its context does; its errors hold neither the
	// number nor a secret.
	Judge(ctx context.Context, i auth.Inquiry) (allow bool, err error)
}

// lenient is what a Screen may be as well: one whose failures let messages out.
type lenient interface{ AllowOnFailure() bool }

// screened makes a party of the screen, with a time limit and a health.
type screened struct {
	Screen
	country func(e164 string) string
}

// Send returns nil for a message that may go out, and ErrDenied for one that
// may not.
func (s screened) Send(ctx context.Context, m auth.Message) error {
	allow, err := s.Judge(ctx, auth.Inquiry{ID: m.ID, Phone: m.To, Country: s.country(m.To), Channel: m.Channel, ClientIP: m.ClientIP})
	if err == nil && !allow {
		return auth.ErrDenied
	}
	return err
}

// Limit is the screen's own, if it has one.
func (s screened) Limit() time.Duration {
	if l, ok := s.Screen.(limited); ok {
		return l.Limit()
	}
	return 0
}

// Close closes the screen, if it can be closed.
func (s screened) Close() error {
	if c, ok := s.Screen.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// screen is the screen's place among the parties, when there is one.
func (q *Queue) screen() int { return len(q.options.Senders) }

// strict reports whether nothing goes out while the screen cannot tell.
func (q *Queue) strict() bool {
	l, ok := q.options.Screen.(lenient)
	return q.options.Screen != nil && !(ok && l.AllowOnFailure())
}

// pass asks the screen. An error keeps the message back: it was denied, or the
// screen cannot tell. A message that a lenient screen cannot judge passes.
func (q *Queue) pass(ctx context.Context, j *job) error {
	if q.options.Screen == nil {
		return nil
	}
	tried, err := q.try(ctx, q.screen(), j)
	switch {
	case tried && err == nil || errors.Is(err, auth.ErrDenied):
		return err
	case !tried:
		err = ErrDown
	}
	if q.strict() || ctx.Err() != nil {
		return fmt.Errorf("risk hook %s: %w", q.options.Screen.Name(), err)
	}
	if tried {
		q.options.Log.Warn("the risk hook cannot tell, so the code goes out", "hook", q.options.Screen.Name(), "error", err)
	}
	return nil
}
