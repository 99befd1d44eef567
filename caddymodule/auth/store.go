package auth

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Version identifies one written state of a record. It is opaque and only
// compared for equality; 0 means that the record does not exist.
type Version uint64

// Record is what a store holds under a key.
type Record struct {
	Value   []byte  // nil when the record does not exist
	Version Version // 0 when the record does not exist
}

// Write is one change of one record.
type Write struct {
	Key   string // at most 512 bytes
	Value []byte // at most 64 KiB; nil deletes the record
	// Expires is the instant from which the record no longer exists, in
	// millisecond precision. The zero time means never.
	Expires time.Time
	// Ending marks a write that ends a session or otherwise takes access away.
	// A store that is short of space still accepts it.
	Ending bool
	// Owner is the user whom the record is about, below 2^63; 0: it is about
	// nobody. See Eraser.
	Owner uint64
	// Unlisted marks a record that is only ever asked for by its whole key: List
	// does not show it, and a store that seals keeps no key of it. So what is in
	// it stays hidden, even with all the keys of the store, from whoever does not
	// know the record's own.
	Unlisted bool
}

// Store keeps records. It holds no rule: every rule stands in this package as
// a function over records, and is carried out as one compare-and-swap on one
// record. So an engine needs nothing beyond these methods, and a cluster that
// is atomic for one key at a time obeys the same rules.
//
// All methods are safe for concurrent use. They honour the context's deadline.
// An error that does not wrap ErrConflict means that the store cannot answer
// now (it wraps ErrUnavailable); the caller then refuses the request and
// changes nothing. The package storetest holds every store to this contract.
type Store interface {
	// Get reads the records of the keys, in their order. A record that is
	// missing or has expired comes back as the zero Record. It shows every
	// Swap and Put that has returned, and may show one that is about to.
	Get(ctx context.Context, keys ...string) ([]Record, error)

	// Swap writes one record if its version is still the expected one (0: it
	// must not exist), and returns the new version. Otherwise nothing is
	// written and the error wraps ErrConflict. When Swap returns nil the
	// change survives a crash of the process and of the machine. Deleting a
	// record that does not exist, with expected 0, is no error.
	Swap(ctx context.Context, expected Version, w Write) (Version, error)

	// Put writes records whatever their version, for what may be lost: when it
	// returns the change survives a crash of the process, and is on its way to
	// the disk. It may be split into several transactions.
	Put(ctx context.Context, writes []Write) error

	// Sync returns when everything that Get may have shown before the call
	// survives a crash of the machine.
	Sync(ctx context.Context) error
}

// Lister is what a Store may be as well: one whose records can be walked, for
// operators. No request of a client waits for it.
type Lister interface {
	// List gives at most limit records whose keys begin with prefix, in an order
	// of the store's own that does not change, after the record of that key ("":
	// from the first). The prefix ends with a slash, and begins like one of
	// Walked; of others a store may say ErrCannotList. Fewer than limit means that
	// there are no more. A record that is written meanwhile may be missed; one
	// that stays as it is, is not. Unlisted records are not shown.
	List(ctx context.Context, prefix, after string, limit int) ([]Listed, error)
}

// ErrCannotList says that a store is no Lister.
var ErrCannotList = fmt.Errorf("%w: this store cannot list its records", ErrUnavailable)

// Listed is a record with its key.
type Listed struct {
	Key string
	Record
}

// Snapshotter is what a Store may be as well: one that can show all it holds as
// of one moment, for backups.
type Snapshotter interface {
	// Snapshot calls visit with each record that is not unlisted, as the Write
	// that makes it, until visit returns an error, which then comes back wrapped.
	// All records are of
	// one moment after the call began; writes go on meanwhile and are not seen.
	// visit may take as long as it likes, and may keep the value.
	Snapshot(ctx context.Context, visit func(Write) error) error
}

// Eraser is what a Store may be as well: one where a deleted record would still
// lie somewhere, in a file or a log, and which can make it unreadable there.
type Eraser interface {
	// Erase makes every record unreadable that was ever written with this owner,
	// for good and wherever it lies; for all other methods such a record no
	// longer exists. Whatever is written with this owner until then deletes its
	// record instead: who began before the erasure must leave nothing behind.
	// Later the owner is one like any other. When Erase returns nil, the erasure
	// survives a crash of the machine. An owner without records is no error.
	Erase(ctx context.Context, owner uint64, until time.Time) error
}

// ErrCannotErase says that a store is no Eraser.
var ErrCannotErase = fmt.Errorf("%w: this store cannot erase a user's records", ErrUnavailable)

// ErrErased says that a sealed record was its owner's who has been erased. It is
// a word between a store and its sealer: for others the record does not exist.
var ErrErased = errors.New("the record's owner has been erased")

// ErrConflict says that a record has changed since it was read.
var ErrConflict = errors.New("record has changed")

// ErrUnavailable says that the store cannot answer now: it is closed, full,
// damaged, or out of reach. Errors of a store wrap it.
var ErrUnavailable = errors.New("store unavailable")
