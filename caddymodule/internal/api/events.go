package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// pulse is how often a quiet stream shows that it lives: more often than the
// 30 s after which the impatient among proxies give up.
const pulse = 20 * time.Second

// events answers GET /events: server-sent events on the fate of the caller's
// session, until that ends. A stream is no use of the session.
func (a *API) events(w http.ResponseWriter, r *http.Request, _ string) error {
	owner, err := a.owner(w, r)
	if err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return nil
	}
	s := stream{ResponseWriter: w, id: owner.proof.SessionID}
	news, stop := a.Service.Watch(s.id)
	defer stop()
	timer := time.NewTimer(0) // look at once: it may have ended before Watch
	defer timer.Stop()
	for changed := false; ; {
		select {
		case <-r.Context().Done():
			return nil
		case <-a.Stopping:
			return nil // the browser comes back, and finds the next server
		case <-news:
			changed = true
		case <-timer.C:
		}
		end, due, err := a.Service.Standing(r.Context(), s.id)
		if err != nil && !s.started {
			return err
		}
		if err != nil || s.tell(end, changed) != nil || end != "" {
			return nil
		}
		changed = false
		timer.Reset(min(pulse, max(due.Sub(a.Now()), time.Millisecond)))
	}
}

// stream writes server-sent events (HTML standard, section 9.2).
type stream struct {
	http.ResponseWriter
	id      auth.SessionID
	started bool
}

// tell writes what is known now, at least a comment.
func (s *stream) tell(end auth.EndReason, changed bool) error {
	if !s.started {
		s.started = true
		s.Header().Set("Content-Type", "text/event-stream")
		s.Header().Set("X-Accel-Buffering", "no") // nginx would hold it back
		if _, err := fmt.Fprint(s, "retry: 2000\n"); err != nil {
			return err
		}
	}
	text := ":\n\n"
	switch {
	case end != "":
		text = s.event("session.ended", end)
	case changed:
		text = s.event("session.changed", "")
	}
	if _, err := fmt.Fprint(s, text); err != nil {
		return err
	}
	return http.NewResponseController(s.ResponseWriter).Flush()
}

func (s *stream) event(name string, end auth.EndReason) string {
	data, _ := json.Marshal(struct { // of plain strings: cannot fail
		SessionID auth.SessionID `json:"session_id"`
		EndReason auth.EndReason `json:"end_reason,omitempty"`
	}{s.id, end})
	return fmt.Sprintf("event: %s\ndata: %s\n\n", name, data)
}
