package caddymodule

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/admin"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
	"github.com/sidegate/sidegate/caddymodule/internal/token"
)

// A configuration rotates its signing keys by the schedule and tells of it, as of
// an operator's act; once it has ended, it does so no more.
func TestKeysRotateBySchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 24 * time.Hour
		keys, err := token.Open(t.Context(), memstore.New(time.Now), token.Options{RotateEvery: every, CacheSize: 64})
		if err != nil {
			t.Fatal(err)
		}
		var told []auth.Event
		service := &auth.Service{Now: time.Now, Tell: func(e auth.Event) { told = append(told, e) }}
		rt := &runtime{tokens: keys, service: service}
		rt.begin(slog.New(slog.DiscardHandler))
		time.Sleep(every + 2*token.ReloadEvery)
		synctest.Wait()
		if len(told) != 1 || told[0].Name != auth.EventKeysRotated || told[0].Cause != "schedule" || told[0].By != "schedule" {
			t.Fatalf("told %+v", told)
		}
		before, after := told[0].Before.([]admin.Key), told[0].After.([]admin.Key)
		if len(before) != 1 || !before[0].Signs || len(after) != 2 || after[0].Signs || after[1].Kid != before[0].Kid {
			t.Errorf("from %+v to %+v", before, after)
		}
		rt.end()
		time.Sleep(2 * every)
		if len(told) != 1 {
			t.Error("it goes on after the end")
		}
	})
}
