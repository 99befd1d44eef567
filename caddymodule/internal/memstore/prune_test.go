package memstore

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestExpiredRecordsAreForgotten(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := New(func() time.Time { return now })
	for i := range 50_000 {
		w := auth.Write{Key: fmt.Sprint(i), Value: []byte("v"), Expires: now.Add(time.Second)}
		if err := s.Put(context.Background(), []auth.Write{w}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(10 * time.Millisecond)
	}
	if n := len(s.records); n > 2*firstPrune {
		t.Errorf("%d records kept, 100 live", n)
	}
}
