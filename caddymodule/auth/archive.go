package auth

import (
	"context"
	"fmt"
)

// passing are the kinds of records that no backup has, and why.
var passing = map[string]string{
	"challenge":  "a code that was used after the backup would be good again",
	"puzzle":     "so would a piece of work",
	"limit":      "counts of the last hour or day, under keys that another master key makes anew",
	"conversion": "the same",
	"member":     "comes back from the users",
	"vault":      "keys of this store, sealed with its master key",
	"health":     "holds nothing",
}

// Archive gives keep all that a backup is made of, as it was at one moment after
// the call began: every record that the store holds but the passing ones.
func Archive(ctx context.Context, store Store, keep func(Write) error) error {
	snapshotter, ok := store.(Snapshotter)
	if !ok {
		return fmt.Errorf("%w: this store cannot show one moment of all its records", ErrUnavailable)
	}
	return snapshotter.Snapshot(ctx, func(w Write) error {
		if passing[kindOf(w.Key)] != "" {
			return nil
		}
		return keep(w)
	})
}
