package memstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/memstore"
	"github.com/sidegate/sidegate/caddymodule/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) auth.Store { return memstore.New(now) })
}

func TestRotation(t *testing.T) {
	storetest.Rotation(t, func(t *testing.T, now func() time.Time) auth.Store { return memstore.New(now) })
}

func TestLimits(t *testing.T) {
	storetest.Limits(t, func(t *testing.T, now func() time.Time) auth.Store { return memstore.New(now) })
}

func BenchmarkSwap(b *testing.B) {
	s, v := memstore.New(time.Now), auth.Version(0)
	b.ReportAllocs()
	for i := range b.N {
		v, _ = s.Swap(context.Background(), v, auth.Write{Key: "k", Value: fmt.Append(nil, i)})
	}
}
