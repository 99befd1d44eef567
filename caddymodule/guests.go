package caddymodule

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/notify"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// Sealer encrypts what a store writes, and hides whom it is about.
type Sealer interface {
	SealNames
	SealRecords
	SealSlots
}

// SealRecords encrypts values. What was sealed under one key does not open
// under another.
type SealRecords interface {
	// Seal encrypts the value of a write, with the data key of its owner, which
	// lies in a slot of the store (see SealSlots). 0 and nil: with none; then a
	// deleted record can be read as long as it lies anywhere.
	Seal(w auth.Write, slot uint64, data []byte) []byte
	// Open gives the value that was sealed under a key. held tells what lies in a
	// slot; it may be nil for a store without slots. The error is auth.ErrErased
	// when the owner was erased: then there is no record.
	Open(key string, sealed []byte, held func(slot uint64) ([]byte, error)) ([]byte, error)
	// Reveal gives key, value and owner of a sealed record, or an unlisted Write
	// without them.
	Reveal(sealed []byte, held func(slot uint64) ([]byte, error)) (auth.Write, error)
}

// SealNames hides the keys of records, for a store whose keys can be read where
// they were deleted.
type SealNames interface {
	// Name is what stands for a key, at most 4 KiB.
	Name(key string) []byte
	// Branch is how the names of all keys begin that begin with a prefix, which
	// ends with a slash. Names of other keys may begin so as well.
	Branch(prefix string) []byte
}

// SealSlots makes what lies in slots, numbered from 1: 64 bytes for each owner
// of records, which the store can overwrite. A store that is an auth.Eraser
// keeps a slot for each owner, erases it by writing an ErasedSlot over it, and
// never uses its number again.
type SealSlots interface {
	NewSlot(slot uint64) []byte
	ErasedSlot(slot uint64) []byte
	// SlotKey gives the key that lies in a slot. The error is auth.ErrErased when
	// it was erased.
	SlotKey(slot uint64, held []byte) ([]byte, error)
}

// Store is a module in the namespace sidegate.stores. It may have the methods
// Size() (bytes int64, err error), for operators who ask how much it holds, and
// Place() string, which names it for them, without a secret. What it opens can be
// moved if it is an auth.Walker, and must be an auth.Sharer if several processes
// can use it.
type Store interface {
	// Address names what the module opens, and nothing else of its options: a
	// cleaned absolute path, or host and port. Configurations with equal
	// addresses share one open store.
	Address() string
	// KeyFile is where the master key is made on first run; empty when there is
	// no place for it, so that the operator must give one.
	KeyFile() string
	// Open opens the store. Every value that it writes goes through the sealer.
	Open(ctx context.Context, seal Sealer, log *slog.Logger) (auth.Store, io.Closer, error)
}

// Builder is what a Store may be as well: one that can be filled from a backup,
// while no server has it open.
type Builder interface {
	// Build makes a store where there is none, whole or not at all.
	Build(seal Sealer, log *slog.Logger, fill func(auth.Store) error) error
}

// Directory is a module in the namespace sidegate.directories. What it makes may
// be an auth.Mover as well: then users can change their numbers.
type Directory interface {
	// Directory makes the directory that works with this store. If it has a
	// method Close() error, that ends it, after the last question: Cleanup of a
	// module comes in no order, while requests may still be on their way.
	Directory(store auth.Store, secrets auth.Secrets) (auth.Directory, error)
}

// DormantHook is a module in the namespace sidegate.dormants: it knows whether
// the number of an account that was not used for long is still its owner's. A
// person waits for it, at most as long as the context lives.
type DormantHook interface{ auth.DormantHook }

// ErrRefused is what a Sender's error wraps when it says something about the
// one message, such as a number out of service: the next sender is tried, and
// this one counts as working.
var ErrRefused = sender.ErrRefused

// Sender is a module in the namespace sidegate.senders. It may have more
// methods:
//
//   - Free() bool says that it costs nothing and reaches only the operator;
//     allow_countries is needed with all others.
//   - TakesCountry(country string) bool limits it to countries (two letters;
//     empty for a number that no plan knows). CountryScope has it.
//   - TakesChannel(channel string) bool says which of sms, voice and whatsapp it
//     has; without it, sms alone. ChannelScope has it.
//   - ReportTo and ReadReport take what its provider says later of a message, at
//     POST {api}/status/{its name}; the name must fit into a path then.
//   - Limit() time.Duration bounds one attempt; without it, 5 s.
//   - Close() error ends it, after the last message.
type Sender interface {
	// Name is what logs call it; never a secret.
	Name() string
	// Send delivers one message within the context's deadline. An error means
	// that it was not delivered and the next sender may try. It is called by
	// several goroutines at once. The error must not contain the code, and may
	// wrap ErrRefused.
	Send(ctx context.Context, m auth.Message) error
}

// Risk is a module in the namespace sidegate.risks: it decides whether a code
// may go out, after the client has had its answer. It may have more methods:
//
//   - AllowOnFailure() bool says that codes go out while it cannot tell; without
//     it they fail.
//   - Limit() time.Duration bounds one question; without it, 5 s.
//   - Close() error ends it, after the last message.
type Risk interface {
	// Name is what logs call it; never a secret.
	Name() string
	// Judge reports whether the code may go out, within the context's deadline.
	// An error means that it cannot tell, whatever it reports; three in a row,
	// and it is not asked for 30 s. It is called by several goroutines at once.
	// Its errors must not contain the number.
	Judge(ctx context.Context, i auth.Inquiry) (allow bool, err error)
}

// ErrUnwanted is what a Notifier's error wraps when its receiver works and will
// never want this one event: it is not tried again.
var ErrUnwanted = notify.ErrRefused

// Notifier is a module in the namespace sidegate.notifiers: it carries events to
// a receiver, which gets each at least once.
type Notifier interface {
	// Name is what logs and metrics call it; never a secret.
	Name() string
	// Address names the receiver. What waits for it is found under its address
	// after a restart, and no two in a configuration may have the same one.
	Address() string
	// Wants reports whether the receiver is to hear of an event.
	Wants(event auth.EventName) bool
	// Limit is the time that one attempt may take.
	Limit() time.Duration
	// Notify delivers one event, as JSON, within the context's deadline. The id
	// is the same at every attempt. An error means that it will be tried again,
	// unless it wraps ErrUnwanted. It is called by several goroutines at once.
	Notify(ctx context.Context, id string, body []byte) error
}
