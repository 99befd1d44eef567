// Package redis keeps the records in Redis or Valkey, so that several Caddys
// serve the same sessions. It is a package of its own, since the client of Redis
// makes a binary megabytes larger; cmd/sidegate has it.
package redis

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/redis/redisstore"
)

func init() { caddy.RegisterModule(Store{}) }

// Store keeps the records in Redis 7 or Valkey: one server, one that Sentinel
// watches, or a Cluster. Every Caddy that works on it needs the same master_key.
// Placeholders are allowed in every text.
type Store struct {
	// host:port of the server, of the Sentinels when master is given, or of some
	// nodes of a Cluster; the others are found.
	Addresses []string `json:"address"`
	// The name that the Sentinels know the primary by. Default: no Sentinels.
	Master string `json:"master,omitempty"`
	// The user of the server's access control list. Default: default.
	Username string `json:"username,omitempty"`
	// The user's password: use {env.NAME} or {file./path}. Default: none.
	Password string `json:"password,omitempty"`
	// The user at the Sentinels, whose list is another one. Default: default.
	SentinelUsername string `json:"sentinel_username,omitempty"`
	// The password at the Sentinels: use {env.NAME} or {file./path}. Default: none.
	SentinelPassword string `json:"sentinel_password,omitempty"`
	// Connect by TLS 1.2 or later. Default: plain text, which is refused for
	// other machines.
	TLS bool `json:"tls,omitempty"`
	// A file with the certificates, in PEM, of those who may vouch for the
	// servers. Default: the system's.
	TLSCA string `json:"tls_ca,omitempty"`
	// A file with our certificate, in PEM, for servers that ask for one.
	TLSCert string `json:"tls_cert,omitempty"`
	// A file with the key of tls_cert, in PEM.
	TLSKey string `json:"tls_key,omitempty"`
	// The name that the servers' certificates must have, for servers that are
	// known by other addresses. Default: the host of the address.
	TLSServerName string `json:"tls_server_name,omitempty"`
	// Allow plain text to other machines, for networks that encrypt by
	// themselves. Elsewhere whoever is on the way reads the password and can
	// change what is stored.
	InsecurePlaintext bool `json:"insecure_plaintext,omitempty"`
	// How the names of all keys begin; letters, digits and any of . _ : / -.
	// Default: sidegate:. Another one is another store.
	Prefix string `json:"prefix,omitempty"`
	// The number of the database. A Cluster has 0 alone. Default: 0.
	DB int `json:"db,omitempty"`
	// How many replicas must have what must not be lost before it is answered, 0
	// to 5. Too few: a failover may undo an answered sign-out. More than there
	// are: 503 for every sign-in and sign-out. Default: 1 where every primary has
	// a replica at the start, else 0.
	Replicas *int `json:"replicas,omitempty"`
	// How long the replicas may take, 100ms to 3s; then the answer is 503.
	// Default: 1s.
	ReplicaTimeout caddy.Duration `json:"replica_timeout,omitempty"`

	options redisstore.Options
}

// CaddyModule returns the Caddy module information.
func (Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.stores.redis", New: func() caddy.Module { return new(Store) }}
}

// Provision checks the values. It does not connect: `caddy validate` runs where
// Redis may be out of reach.
func (s *Store) Provision(ctx caddy.Context) error {
	resolved := *s
	resolved.Addresses = slices.Clone(s.Addresses)
	for key, value := range resolved.texts() {
		var err error
		if *value, err = caddymodule.Resolve(key, *value); err != nil {
			return err
		}
	}
	if err := resolved.validate(); err != nil {
		return err
	}
	if resolved.InsecurePlaintext && !resolved.TLS {
		ctx.Slogger().Warn("Redis is reached in plain text: whoever is on the way reads the password and can change what is stored; use tls")
	}
	var err error
	s.options, err = resolved.toOptions()
	return err
}

// texts are the fields that may hold placeholders.
func (s *Store) texts() map[string]*string {
	texts := map[string]*string{
		"master": &s.Master, "username": &s.Username, "password": &s.Password,
		"sentinel_username": &s.SentinelUsername, "sentinel_password": &s.SentinelPassword,
		"tls_ca": &s.TLSCA, "tls_cert": &s.TLSCert, "tls_key": &s.TLSKey, "tls_server_name": &s.TLSServerName,
		"prefix": &s.Prefix,
	}
	for i := range s.Addresses {
		texts[fmt.Sprintf("address %d", i+1)] = &s.Addresses[i]
	}
	return texts
}

func (s *Store) toOptions() (o redisstore.Options, err error) {
	o = redisstore.Options{
		Addresses: slices.Sorted(slices.Values(s.Addresses)), Master: s.Master, DB: s.DB, Prefix: s.Prefix,
		Username: s.Username, Password: s.Password,
		SentinelUsername: s.SentinelUsername, SentinelPassword: s.SentinelPassword,
		Plaintext: s.InsecurePlaintext, Replicas: redisstore.DetectReplicas, ReplicaTimeout: time.Duration(s.ReplicaTimeout),
	}
	if o.Prefix == "" {
		o.Prefix = "sidegate:"
	}
	if s.Replicas != nil {
		o.Replicas = *s.Replicas
	}
	if s.TLS {
		o.TLS, err = s.tlsConfig()
	}
	return o, err
}

// seed makes the fingerprints of options, which hold passwords, worthless outside
// of this process.
var seed = maphash.MakeSeed()

// Address is where the records are, and a fingerprint of how they are reached: a
// configuration with a new password must not go on with the old connections. Two
// stores that are open side by side for a while hear of each other as two nodes
// do.
func (s *Store) Address() string {
	o := s.options
	way := maphash.Comparable(seed, [...]any{
		o.Username, o.Password, o.SentinelUsername, o.SentinelPassword, o.Plaintext, o.Replicas, o.ReplicaTimeout,
		s.TLS, s.TLSCA, s.TLSCert, s.TLSKey, s.TLSServerName,
	})
	return fmt.Sprintf("redis %s %q %d %q %x", strings.Join(o.Addresses, ","), o.Master, o.DB, o.Prefix, way)
}

// Place is where the records are, for people.
func (s *Store) Place() string {
	o := s.options
	place := "redis " + strings.Join(o.Addresses, ",")
	if o.Master != "" {
		place += " master " + o.Master
	}
	if o.DB != 0 {
		place += fmt.Sprintf(" db %d", o.DB)
	}
	return place + " prefix " + o.Prefix
}

// KeyFile is empty: a key that one machine makes is of no use to the others.
func (*Store) KeyFile() string { return "" }

// Open connects.
func (s *Store) Open(ctx context.Context, seal caddymodule.Sealer, log *slog.Logger) (auth.Store, io.Closer, error) {
	o := s.options
	o.Seal, o.Log = seal, log
	store, err := redisstore.Open(ctx, o)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the store: %w", err)
	}
	return store, store, nil
}

// Interface guards
var (
	_ caddymodule.Store     = (*Store)(nil)
	_ caddyfile.Unmarshaler = (*Store)(nil)
	_ caddy.Provisioner     = (*Store)(nil)
)
