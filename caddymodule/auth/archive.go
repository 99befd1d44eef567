package auth

import (
	"context"
	"fmt"
)

// Kind is what a backup makes of the records of one kind: those whose keys begin
// with its name.
type Kind struct {
	Carried bool
	Why     string
}

// Kinds are all kinds of records that Sidegate makes. Those that it does not
// know, of somebody else's directory, are carried as they are.
var Kinds = map[string]Kind{
	"user":    {true, "the accounts"},
	"session": {true, "with their ends, so that they stay over"},
	"touch":   {true, "when sessions were last used"},
	"used":    {true, "when users were last there: a dormant account stays one"},
	"device":  {true, "of users"},
	"phone":   {true, "whom a number leads to"},
	"member":  {true, "which numbers are customers'"},
	"counter": {true, "ids that were given"},
	"keys":    {true, "signing keys, or no access token would be good"},
	"era":     {true, "in which no session is good any more, and in which all new ones are"},
	"blocks":  {true, "countries and prefixes"},
	"audit":   {true, "how far the audit had come: a restore wants to see the lines after it"},

	"challenge":  {false, "a code that was used after the backup would be good again"},
	"puzzle":     {false, "so would a piece of work"},
	"limit":      {false, "counts of the last hour or day"},
	"conversion": {false, "the same"},
	"notify":     {false, "events that have been told since, or have aged"},
	"vault":      {false, "the root key as the master key wraps it: it goes along unwrapped, see docs/backup.md"},
	"health":     {false, "holds nothing"},
}

// Archive gives keep all that a backup is made of, as it was at one moment after
// the call began.
func Archive(ctx context.Context, store Store, keep func(Write) error) error {
	snapshotter, ok := store.(Snapshotter)
	if !ok {
		return fmt.Errorf("%w: this store cannot show one moment of all its records", ErrUnavailable)
	}
	return snapshotter.Snapshot(ctx, func(w Write) error {
		if !archived(kindOf(w.Key)) {
			return nil
		}
		return keep(w)
	})
}

func archived(kind string) bool {
	k, known := Kinds[kind]
	return k.Carried || !known
}
