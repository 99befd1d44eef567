package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// answer remembers whether anything was written, for the panic handler.
type answer struct {
	http.ResponseWriter
	started bool
}

func (a *answer) WriteHeader(status int) {
	a.started = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	a.started = true
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection (events).
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// writeJSON answers with v. It marshals first, so that a fault leaves the
// answer free for the problem.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone: nobody to tell
	return nil
}

func noContent(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// lifeSeconds rounds down: nothing lives longer than was said.
func lifeSeconds(d time.Duration) int64 { return int64(max(d, 0) / time.Second) }

// waitSeconds rounds up: nobody is invited too early.
func waitSeconds(d time.Duration) int64 {
	return int64((max(d, 0) + time.Second - 1) / time.Second)
}
