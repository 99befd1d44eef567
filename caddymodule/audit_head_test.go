package caddymodule

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
)

// The head of an audit whose process lives stays young, though there are no
// lines: also that of the chain before, as long as there is none in ours.
func TestHeadOfALivingAuditIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(time.Now)
		first, err := openAuditor(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		head := func() (kept keptHead) {
			records, err := store.Get(t.Context(), first.key)
			if err == nil && records[0].Version != 0 {
				err = json.Unmarshal(records[0].Value, &kept)
			}
			if err != nil {
				t.Fatal(err)
			}
			return kept
		}
		if err := first.save(); err != nil || head().N != 0 {
			t.Errorf("a head without a line was kept: %v", err)
		}
		if err := first.Append(auth.Event{Name: auth.EventUserCreated}, func(json.RawMessage, string) {}); err != nil {
			t.Fatal(err)
		}
		if err := first.save(); err != nil {
			t.Fatal(err)
		}
		want := head()
		second, err := openAuditor(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			time.Sleep(renewHead)
			if err := second.save(); err != nil {
				t.Fatal(err)
			}
			if got := head(); got.Head != want.Head || !got.At.Equal(time.Now()) {
				t.Errorf("got %+v at %v, want the head of before", got, time.Now())
			}
		}
	})
}
