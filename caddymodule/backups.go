package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/admin"
	"github.com/sidegate/sidegate/caddymodule/internal/backup"
	"github.com/sidegate/sidegate/caddymodule/internal/command"
)

// backup gives what writes a backup of the open store. Its time is read first:
// what happens from then on is for the audit to tell, also when the backup has it
// already. How far the audit has come goes along: a restore wants to see the lines
// after it.
func (e *engine) backup(source masterSource) func(context.Context, io.Writer, admin.Lock) error {
	return func(ctx context.Context, to io.Writer, l admin.Lock) error {
		if err := errors.Join(e.live.Flush(ctx, e.store), e.audit.save()); err != nil {
			return err
		}
		of, err := e.origin(ctx, source)
		if err != nil {
			return err
		}
		w, err := backup.NewWriter(to, backup.Lock(l), of)
		if err != nil {
			return err
		}
		if err := auth.Archive(ctx, e.store, w.Write); err != nil {
			return err
		}
		return w.Close()
	}
}

// origin unwraps the root key once more: no process keeps it.
func (e *engine) origin(ctx context.Context, source masterSource) (backup.Origin, error) {
	of := backup.Origin{At: time.Now()}
	master, err := source.master(ctx, false)
	if err != nil {
		return of, err
	}
	of.Root, err = e.keyring().Root(ctx, master)
	return of, err
}

// verifyBackup reads a backup as a restore would, and makes nothing of it.
func verifyBackup(file io.Reader, k command.Key) ([]byte, error) {
	summary, err := backup.Read(file, backup.Key(k), func(auth.Write) error { return nil })
	if err != nil {
		return nil, err
	}
	return asJSON(summary)
}

func asJSON(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	return append(text, '\n'), err
}
