package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/audit"
	"github.com/sidegate/sidegate/caddymodule/internal/backup"
	"github.com/sidegate/sidegate/caddymodule/internal/command"
	"github.com/sidegate/sidegate/caddymodule/internal/vault"
)

// restored is the report of a restore.
type restored struct {
	BackupAt time.Time `json:"backup_at"`
	Records  int       `json:"records"`        // written
	Ended    int       `json:"sessions_ended"` // that the backup has as live
	Left     []string  `json:"left"`           // to do by hand
}

// restore makes the store of a configuration out of a backup. The file is read
// twice: whole, before anything is made, and again to fill the store.
func restore(ctx context.Context, r command.Restoration) ([]byte, error) {
	file, err := os.Open(r.File)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	heads := map[string]keptHead{}
	summary, err := backup.Read(file, backup.Key(r.Key), func(w auth.Write) error { return headIn(w, heads) })
	if err != nil {
		return nil, err
	}
	since := auth.EndAll(time.Now().UTC())
	if r.Audit != nil {
		maps.DeleteFunc(heads, func(_ string, h keptHead) bool { return h.At.Before(summary.At.Add(-alive)) })
		if since, err = aftermath(r.Audit, heads, summary.At); err != nil {
			return nil, err
		}
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	report := restored{BackupAt: summary.At, Left: since.Left()}
	err = buildStore(r.Config, summary.Root, func(store auth.Store) error {
		to := auth.NewRestoration(store, since)
		_, err := backup.Read(file, backup.Key(r.Key), func(w auth.Write) error { return to.Add(ctx, w) })
		if err == nil {
			err = to.Finish(ctx)
		}
		report.Records, report.Ended = to.Restored, to.Ended
		return err
	})
	if err != nil {
		return nil, err
	}
	return asJSON(report)
}

// alive is how long before the backup the head of an audit was renewed at least,
// if its machine was still running: an audit of one that was not has no lines
// after the backup, and its files may be gone.
const alive = 6 * renewHead

// headIn notes how far an audit had come at the backup.
func headIn(w auth.Write, heads map[string]keptHead) error {
	if !strings.HasPrefix(w.Key, auditPrefix) {
		return nil
	}
	var head keptHead
	if err := json.Unmarshal(w.Value, &head); err != nil {
		return fmt.Errorf("reading the audit's head in the backup: %w", err)
	}
	heads[head.Hash] = head
	return nil
}

// skew is by how much the clocks of nodes may differ.
const skew = time.Minute

// later tells which lines came after the backup: those behind the head that it
// has of their chain. Of a chain that it has no head of the clock tells, with
// some to spare: what is heard twice can only end more.
func later(heads map[string]keptHead, backupAt time.Time) func(audit.Entry) bool {
	n := map[string]uint64{}
	for _, head := range heads {
		n[head.Chain] = head.N
	}
	return func(line audit.Entry) bool {
		if head, known := n[line.Chain]; known {
			return line.N > head
		}
		return line.At.After(backupAt.Add(-skew))
	}
}

// aftermath reads the audit of the time after the backup. It must begin before
// that, be whole and in order; that nothing is cut off its end nobody can tell
// here.
func aftermath(log io.Reader, heads map[string]keptHead, backupAt time.Time) (*auth.Aftermath, error) {
	since, fromTheFirst, lines, known := new(auth.Aftermath), false, 0, len(heads) > 0
	after := later(heads, backupAt)
	report, err := audit.Read(log, nil, func(line audit.Entry, hash string) {
		fromTheFirst = fromTheFirst || lines == 0 && line.N == 1 && line.Prev == ""
		lines++
		delete(heads, hash)
		if after(line) {
			since.Hear(eventOf(line))
		}
	})
	switch {
	case err != nil:
		return nil, err
	case len(report.Faults) > 0:
		return nil, fmt.Errorf("the audit log is not whole, so it cannot tell which sessions have ended: %s (and %d more); use --end-all-sessions", report.Faults[0], len(report.Faults)-1)
	case lines == 0:
		return nil, errors.New("there is no line of the audit in these files; use --end-all-sessions")
	case len(heads) > 0 || !known && !fromTheFirst:
		return nil, errors.New("the audit log does not reach back to the backup; add the older files, oldest first, or use --end-all-sessions")
	}
	return since, nil
}

func eventOf(line audit.Entry) auth.Event {
	id, _ := auth.ParseSessionID(line.SessionID)
	return auth.Event{Name: auth.EventName(line.Name), At: line.At, Cause: line.Cause, UserID: line.UserID, SessionID: id, DeviceID: line.DeviceID, Before: line.Before, After: line.After}
}

// appOf is the app of a configuration that no server has. It opens nothing until
// it is started, so there is nothing to clean up.
func appOf(config []byte) (*App, caddy.Context, error) {
	var of struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(config, &of); err != nil {
		return nil, caddy.Context{}, fmt.Errorf("reading the configuration: %w", err)
	}
	raw := of.Apps["sidegate"]
	if raw == nil {
		raw = json.RawMessage("{}")
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{AppsRaw: caddy.ModuleMap{"sidegate": raw}})
	if err != nil {
		return nil, ctx, err
	}
	guest, err := ctx.App("sidegate")
	if err != nil {
		return nil, ctx, err
	}
	return guest.(*App), ctx, nil
}

// buildStore makes the store of a configuration with a root key that is given,
// and has fill fill it.
func buildStore(config, root []byte, fill func(auth.Store) error) error {
	app, ctx, err := appOf(config)
	if err != nil {
		return err
	}
	builder, ok := app.store.(Builder)
	if !ok {
		return errors.New("this store cannot be restored into; name a store badger")
	}
	master, err := app.masters.master(ctx, false)
	if err != nil {
		return err
	}
	seal := new(vault.Late)
	return builder.Build(seal, app.log, func(store auth.Store) error {
		keyring := &vault.Keyring{Store: store, Now: time.Now}
		v, err := keyring.Plant(ctx, root, master)
		if err != nil {
			return err
		}
		seal.Use(v)
		return fill(store)
	})
}
