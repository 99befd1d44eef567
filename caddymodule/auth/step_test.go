package auth_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Who traces hears of each slow step, with its end, in the context of the
// request that it is of.
func TestStepsAreTold(t *testing.T) {
	type key struct{}
	w := newWorld(t)
	var steps []string
	w.Step = func(ctx context.Context, name string) (context.Context, func(error)) {
		of := ctx.Value(key{})
		return ctx, func(err error) { steps = append(steps, fmt.Sprint(of, " ", name, " ", err)) }
	}
	ctx := context.WithValue(t.Context(), key{}, "mine")
	for _, failure := range []error{nil, errNetwork} {
		w.outbox.failure = failure
		p, err := w.Start(ctx, auth.StartRequest{Phone: alice})
		wants(t, err, "")
		if failure == nil {
			_, err = w.Verify(ctx, auth.VerifyRequest{ChallengeID: p.ChallengeID, Code: w.outbox.code(alice), Kind: auth.RefreshTicket})
			wants(t, err, "")
		}
	}
	w.outbox.refuse = errNetwork
	_, err := w.Start(ctx, auth.StartRequest{Phone: alice})
	wants(t, err, auth.CodeDeliveryUnavailable)
	want := []string{"mine send <nil>", "mine directory <nil>", "mine send no network", "mine send no network"}
	if !slices.Equal(steps, want) {
		t.Errorf("got %q, want %q", steps, want)
	}
}
