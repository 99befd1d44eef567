package auth

import "context"

// Walker is what a Store may be as well: one whose records can be taken to
// another store while it is in use.
type Walker interface {
	// Walk calls visit with each record that is not unlisted, as the Write that
	// makes it, until visit returns an error, which then comes back wrapped. A
	// record that is written meanwhile may be missed, seen as it was, or seen
	// twice; one that stays as it is, is seen. visit is called by one goroutine,
	// may take as long as it likes, and may keep the value.
	Walk(ctx context.Context, visit func(Write) error) error

	// Fetch is Get, with records as the Writes that make them. One that is missing
	// or has expired has a nil Value. Of an unlisted one the owner is not told.
	Fetch(ctx context.Context, keys ...string) ([]Write, error)

	// Clear deletes all records but that of one key, which is nobody's; unlisted ones
	// too. Nobody may write meanwhile.
	Clear(ctx context.Context, but string) error

	// Estimate tells about how many records there are, at little cost.
	Estimate(ctx context.Context) (int, error)
}

// Sharer is what a Store may be as well: one that several processes can use at
// the same time.
type Sharer interface {
	// Others tells how many other processes use the store now, or did so a few
	// seconds ago.
	Others(ctx context.Context) (int, error)
}
