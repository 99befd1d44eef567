package metrics

import "github.com/sidegate/sidegate/caddymodule/auth"

// What a limit has done.
const (
	actionStopped  = "stopped"
	actionRecorded = "recorded" // it would have
)

// Event counts what the domain tells.
func (m *Set) Event(e auth.Event) {
	m.events.WithLabelValues(string(e.Name)).Inc()
	switch e.Name {
	case auth.EventCodeRequested:
		m.requested.WithLabelValues(e.Channel).Inc()
	case auth.EventCodeDelivered:
		m.delivered.inc(orUnknown(e.Country))
		m.verified.add(0, orUnknown(e.Country)) // a share of none is there too
	case auth.EventCodeUndelivered:
		m.undelivered.inc(causeOf(e))
	case auth.EventSendBlocked, auth.EventVerifyBlocked:
		m.limits.inc(e.Cause, actionStopped)
	case auth.EventSendRecorded:
		m.limits.inc(e.Cause, actionRecorded)
	case auth.EventBudgetUsed:
		m.alarms.inc(e.Cause)
	case auth.EventCodeWrong:
		m.wrong.Inc()
	case auth.EventSignInRefused:
		m.verified.inc(orUnknown(e.Country)) // its code was right
	default:
		m.sessionEvent(e)
	}
}

func (m *Set) sessionEvent(e auth.Event) {
	switch e.Name {
	case auth.EventSessionStarted:
		m.started.Inc()
		m.verified.inc(orUnknown(e.Country))
	case auth.EventSessionEnded:
		m.ended.inc(e.Cause)
	case auth.EventTokenRefreshed:
		m.refreshes.inc(e.Cause)
	case auth.EventTokenReused:
		m.refreshes.inc(outcomeReused)
	case auth.EventTokenRefused:
		if e.Cause != string(auth.CodeRefreshReused) { // counted as reused
			m.refreshes.inc(e.Cause)
		}
	}
}

func causeOf(e auth.Event) string {
	if e.Cause == "" {
		return causeSenders
	}
	return e.Cause
}
