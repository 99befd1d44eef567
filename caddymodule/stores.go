package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/badgerstore"
)

func init() {
	caddy.RegisterModule(BadgerStore{})
	caddy.RegisterModule(LocalDirectory{})
}

// BadgerStore keeps the records in a directory of this machine. One Caddy at a
// time can use the directory.
type BadgerStore struct {
	// The directory; made with mode 0700. Placeholders are allowed. Default:
	// sidegate in Caddy's data directory.
	Path string `json:"path,omitempty"`

	dir string
}

// CaddyModule returns the Caddy module information.
func (BadgerStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.stores.badger", New: func() caddy.Module { return new(BadgerStore) }}
}

// Provision resolves the path.
func (s *BadgerStore) Provision(caddy.Context) error {
	path, err := resolve(caddy.NewReplacer(), "path", s.Path)
	if err != nil {
		return err
	}
	if path == "" {
		path = filepath.Join(caddy.AppDataDir(), "sidegate")
	}
	if s.dir, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	return nil
}

// Address is the directory.
func (s *BadgerStore) Address() string { return s.dir }

// Place names the directory for people.
func (s *BadgerStore) Place() string { return "badger " + s.dir }

// KeyFile is beside the records. Back the two up apart from each other.
func (s *BadgerStore) KeyFile() string { return filepath.Join(s.dir, "master.key") }

// Open opens the directory, or makes it.
func (s *BadgerStore) Open(_ context.Context, seal Sealer, log *slog.Logger) (auth.Store, io.Closer, error) {
	store, err := badgerstore.Open(badgerstore.Options{Path: s.dir, Seal: seal, Log: log})
	if err != nil {
		return nil, nil, err
	}
	return store, store, nil
}

// Build implements Builder.
func (s *BadgerStore) Build(seal Sealer, log *slog.Logger, fill func(auth.Store) error) error {
	return badgerstore.Build(badgerstore.Options{Path: s.dir, Seal: seal, Log: log}, func(store *badgerstore.Store) error { return fill(store) })
}

// Size is how many bytes of the disk the files take.
func (s *BadgerStore) Size() (int64, error) { return badgerstore.Size(s.dir) }

// UnmarshalCaddyfile reads:
//
//	store badger {
//		path DIRECTORY
//	}
func (s *BadgerStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Err("store badger takes its path in a block: path DIRECTORY")
	}
	return block(d, words{"path": textWord(&s.Path)})
}

// LocalDirectory knows a user by the phone number and keeps the accounts in the
// store.
type LocalDirectory struct {
	// open: a number becomes a user at its first sign-in. closed: only numbers
	// that are users get in. Default: open.
	Registration string `json:"registration,omitempty"`
	// The type of new users. Default: customer.
	UserType string `json:"user_type,omitempty"`
	// The roles of new users. Default: customer.
	Roles []string `json:"roles,omitempty"`
	// The number of the first user; others count up from it. Default: 1.
	FirstID uint64 `json:"first_id,omitempty"`
	// An account that was not used for so long is dormant: phone companies hand
	// numbers on, so a right code alone does not open it. 30d to 3650d; shorter
	// than the time after which your phone companies do. Default: none, and no
	// account ever is.
	DormantAfter caddy.Duration `json:"dormant_after,omitempty"`
	// Who decides what a right code for a dormant account opens. Default: an
	// operator, and until then the code gets 403 account_disabled.
	DormantRaw json.RawMessage `json:"dormant,omitempty" caddy:"namespace=sidegate.dormants inline_key=dormant"`

	dormant auth.DormantHook
}

// CaddyModule returns the Caddy module information.
func (LocalDirectory) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.directories.local", New: func() caddy.Module { return new(LocalDirectory) }}
}

// Provision checks the values and fills in the defaults.
func (l *LocalDirectory) Provision(ctx caddy.Context) error {
	if err := l.validate(); err != nil {
		return err
	}
	if l.DormantRaw != nil {
		if l.DormantAfter == 0 {
			return errors.New("dormant: no account is ever dormant without dormant_after, such as: dormant_after 365d")
		}
		guest, err := ctx.LoadModule(l, "DormantRaw")
		if err != nil {
			return fmt.Errorf("dormant: %w", err)
		}
		l.dormant = guest.(DormantHook)
	}
	if l.UserType == "" {
		l.UserType = "customer"
	}
	if len(l.Roles) == 0 {
		l.Roles = []string{"customer"}
	}
	l.FirstID = max(l.FirstID, 1)
	return nil
}

// maxID is the largest whole number that a JSON number carries exactly
// (RFC 8259, section 6).
const maxID = 1<<53 - 1

func (l *LocalDirectory) validate() error {
	if l.FirstID > maxID/2 {
		return fmt.Errorf("first_id: use a number up to %d", uint64(maxID/2))
	}
	if !slices.Contains([]string{"", "open", "closed"}, l.Registration) {
		return fmt.Errorf("registration %q: use open or closed", l.Registration)
	}
	for _, word := range append(slices.Clone(l.Roles), l.UserType) {
		if !isLabel(word) {
			return fmt.Errorf("%q: a role or type is 1 to 64 letters, digits and any of . _ : -", word)
		}
	}
	return between("dormant_after", l.DormantAfter, caddy.Duration(30*day), caddy.Duration(3650*day))
}

// isLabel holds roles to what stands safely in a comma-separated header.
func isLabel(word string) bool { return auth.IsLabel(word) }

// Directory makes the directory over the store.
func (l *LocalDirectory) Directory(store auth.Store, secrets auth.Secrets) (auth.Directory, error) {
	return &auth.LocalDirectory{
		Store: store, Secrets: secrets, Registration: l.Registration != "closed",
		UserType: l.UserType, Roles: l.Roles, FirstID: l.FirstID, Now: time.Now,
		DormantAfter: time.Duration(l.DormantAfter), Dormant: l.dormant,
	}, nil
}

// UnmarshalCaddyfile reads:
//
//	directory local {
//		registration  open|closed
//		user_type     TYPE
//		roles         ROLE…
//		first_id      N
//		dormant_after DURATION
//		dormant       webhook URL { … }
//	}
func (l *LocalDirectory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	return block(d, words{
		"registration":  checked(textWord(&l.Registration), l.validate),
		"user_type":     checked(textWord(&l.UserType), l.validate),
		"roles":         checked(listWord(&l.Roles), l.validate),
		"first_id":      checked(numberWord(&l.FirstID), l.validate),
		"dormant_after": checked(durationWord(&l.DormantAfter), l.validate),
		"dormant":       guestWord("sidegate.dormants", "dormant", func(raw json.RawMessage) { l.DormantRaw = raw }),
	})
}

// Interface guards
var (
	_ Store     = (*BadgerStore)(nil)
	_ Builder   = (*BadgerStore)(nil)
	_ Directory = (*LocalDirectory)(nil)
)
