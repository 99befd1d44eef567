// Package redisstore is an auth.Store in Redis 7 or Valkey: one server, one
// that Sentinel watches, or a Cluster. Many nodes may work on it at once.
//
// One key holds one record, so a Cluster needs no hash tags. What decides is a
// script on that key, which compares the version and writes, or does nothing.
package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Options say where the records are.
type Options struct {
	// Addresses are host:port of one server, of the Sentinels when Master is
	// set, or of some nodes of a Cluster.
	Addresses []string
	Master    string // the name that Sentinels know the primary by
	DB        int    // a Cluster has only 0
	Prefix    string // of every key

	Username, Password                 string
	SentinelUsername, SentinelPassword string
	TLS                                *tls.Config // nil: plain text
	// Plaintext allows plain text to other machines. Without it and without TLS
	// only the loopback is connected to.
	Plaintext bool

	// Replicas is how many of them must have a Swap before it returns.
	// DetectReplicas takes one where every primary has at least one.
	Replicas       int
	ReplicaTimeout time.Duration // how long they may take; default 1 s

	Seal Sealer           // needed
	Now  func() time.Time // by which records expire; default time.Now
	Log  *slog.Logger     // default: none
}

// DetectReplicas is a value of Options.Replicas.
const DetectReplicas = -1

// How the names of the keys begin that nodes write for themselves, and those of
// the index.
const (
	pulseKeys = "pulse/"
	syncKeys  = "sync/"
	indexKeys = "index/"
)

// callTimeout bounds a call of the store, beside what replicas may take.
const callTimeout = 2 * time.Second

// Store keeps records in Redis. It is safe for concurrent use.
type Store struct {
	opt      Options
	client   rueidis.Client
	replicas int
	// How the keys begin that this store writes for itself: with each beat of
	// Follow, and for Sync.
	pulses, syncs string

	known known

	follow sync.WaitGroup // what Follow has started
	ended  context.Context
	end    context.CancelFunc
}

// Open connects, and looks whether the servers keep what they are given. While
// they do not answer it tries again until the context ends.
func Open(ctx context.Context, opt Options) (*Store, error) {
	opt.setDefaults()
	client, err := connect(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("connecting to Redis: %w", err)
	}
	name := rand.Text() + "/"
	s := &Store{opt: opt, client: client, pulses: opt.Prefix + pulseKeys + name, syncs: opt.Prefix + syncKeys + name}
	s.ended, s.end = context.WithCancel(context.Background())
	if err := errors.Join(s.inspect(ctx), s.mayIndex(ctx)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (o *Options) setDefaults() {
	if o.ReplicaTimeout == 0 {
		o.ReplicaTimeout = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Close ends what Follow has started and disconnects. Calls that come later
// fail with auth.ErrUnavailable.
func (s *Store) Close() error {
	s.end()
	s.follow.Wait()
	s.client.Close()
	return nil
}

// bounded gives a call its deadline: without one, rueidis repeats reads for
// ever.
func (s *Store) bounded(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// unavailable says what the store could not do. Nothing that Redis or the
// network answers tells a stranger's key.
func unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s: %w", auth.ErrUnavailable, doing, err)
}

// refusalOf gives what a server has answered instead of doing as it was told. Any
// other error is of the way there.
func refusalOf(err error) (*rueidis.RedisError, bool) {
	var refusal *rueidis.RedisError
	return refusal, errors.As(err, &refusal)
}

var _ auth.Store = (*Store)(nil)
