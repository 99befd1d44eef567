package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/audit"
	"github.com/sidegate/sidegate/caddymodule/internal/command"
)

// auditor keeps the process's audit: its lines go to the logger sidegate.audit,
// and how far they have come stands in the store, where whoever may write to
// the log cannot reach it.
type auditor struct {
	*audit.Chain
	store auth.Store
	key   string

	mu   sync.Mutex // of saving
	kept keptHead   // what the store has
}

// keptHead is a head in the store. At is renewed while a process lives: a backup
// shows by it which logs go on after it.
type keptHead struct {
	audit.Head
	At time.Time `json:"at"`
}

// renewHead is how often that is at least.
const renewHead = 10 * time.Minute

// auditPrefix begins the keys of the audits' heads, one for each machine.
const auditPrefix = "audit/"

// openAuditor begins a chain after the one that the process before ours on this
// machine has left.
func openAuditor(ctx context.Context, store auth.Store) (*auditor, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	a := &auditor{store: store, key: auditPrefix + host}
	records, err := store.Get(ctx, a.key)
	if err != nil {
		return nil, fmt.Errorf("reading the audit's head: %w", err)
	}
	if records[0].Version != 0 {
		if err := json.Unmarshal(records[0].Value, &a.kept); err != nil {
			return nil, fmt.Errorf("reading the audit's head: %w", err)
		}
	}
	a.Chain = audit.NewChain(a.kept.Head)
	return a, nil
}

// keep writes the head every few seconds until the context ends, then once
// more. The lines since the last time are as safe as the log's file.
func (a *auditor) keep(ctx context.Context, every time.Duration, report func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			running = false
		}
		if err := a.save(); err != nil {
			report(err)
		}
	}
}

func (a *auditor) save() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := keptHead{a.Head(), time.Now().UTC()}
	if next.N == 0 { // no line yet: the chain before is still the last one
		next.Head = a.kept.Head
	}
	if next.N == 0 || next.Head == a.kept.Head && next.At.Sub(a.kept.At) < renewHead {
		return nil
	}
	value, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("writing the audit's head: %w", err)
	}
	if err := a.store.Put(context.Background(), []auth.Write{{Key: a.key, Value: value}}); err != nil {
		return fmt.Errorf("writing the audit's head: %w", err)
	}
	a.kept = next
	return nil
}

// record writes the line of an event.
func (a *auditor) record(e auth.Event, log *zap.Logger) {
	err := a.Append(e, func(line json.RawMessage, hash string) {
		log.Info("audit", zap.Reflect("audit", line), zap.String("hash", hash))
	})
	if err != nil {
		log.Error("no audit line", zap.String("event", string(e.Name)), zap.Error(err))
	}
}

// verifyAudit is what `caddy sidegate audit verify` does with the files.
func verifyAudit(log io.Reader, head []byte) (found command.AuditFound, err error) {
	var want *audit.Head
	if head != nil {
		if err := json.Unmarshal(head, &want); err != nil {
			return found, fmt.Errorf("reading the audit's head: %w", err)
		}
	}
	if want != nil && want.N == 0 {
		want = nil // nothing has been written yet
	}
	report, err := audit.Verify(log, want)
	return command.AuditFound{Lines: report.Lines, Chains: report.Chains, Faults: append([]string{}, report.Faults...)}, err
}
