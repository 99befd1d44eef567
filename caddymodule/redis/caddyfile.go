package redis

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule"
)

// UnmarshalCaddyfile reads:
//
//	store redis {
//		address  HOST:PORT…
//		master   NAME
//		username TEXT
//		password TEXT
//		sentinel_username TEXT
//		sentinel_password TEXT
//		tls
//		tls_ca   FILE
//		tls_cert FILE
//		tls_key  FILE
//		tls_server_name NAME
//		insecure_plaintext
//		prefix   TEXT
//		db       N
//		replicas N
//		replica_timeout DURATION
//	}
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Err("store redis takes its address in a block: address HOST:PORT")
	}
	err := caddymodule.ReadKeys(d, map[string]caddymodule.Key{
		"address":            s.readAddress,
		"master":             caddymodule.TextKey(&s.Master),
		"username":           caddymodule.TextKey(&s.Username),
		"password":           caddymodule.SecretKey(&s.Password),
		"sentinel_username":  caddymodule.TextKey(&s.SentinelUsername),
		"sentinel_password":  caddymodule.SecretKey(&s.SentinelPassword),
		"tls":                flag(&s.TLS),
		"tls_ca":             caddymodule.TextKey(&s.TLSCA),
		"tls_cert":           caddymodule.TextKey(&s.TLSCert),
		"tls_key":            caddymodule.TextKey(&s.TLSKey),
		"tls_server_name":    caddymodule.TextKey(&s.TLSServerName),
		"insecure_plaintext": flag(&s.InsecurePlaintext),
		"prefix":             caddymodule.TextKey(&s.Prefix),
		"db":                 number(func(n int) { s.DB = n }),
		"replicas":           number(func(n int) { s.Replicas = &n }),
		"replica_timeout":    caddymodule.TimeoutKey(&s.ReplicaTimeout),
	})
	if err != nil {
		return err
	}
	if err := s.validate(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (s *Store) readAddress(d *caddyfile.Dispenser) error {
	if s.Addresses = d.RemainingArgs(); len(s.Addresses) == 0 {
		return d.Err("address needs at least one host:port")
	}
	return nil
}

// flag is a key without a value.
func flag(to *bool) caddymodule.Key {
	return func(d *caddyfile.Dispenser) error {
		key := d.Val()
		if d.NextArg() {
			return d.Errf("%s takes no value; %q is one too many", key, d.Val())
		}
		*to = true
		return nil
	}
}

// number reads a whole number, which may be 0.
func number(keep func(int)) caddymodule.Key {
	return func(d *caddyfile.Dispenser) error {
		var text string
		if err := caddymodule.TextKey(&text)(d); err != nil {
			return err
		}
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return d.Errf("%q is no whole number", text)
		}
		keep(int(n))
		return nil
	}
}
