package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var prefixForm = regexp.MustCompile(`^[A-Za-z0-9._:/-]{1,64}$`)

// validate checks all that can be said without asking anybody. Texts with
// placeholders are checked once those are filled in.
func (s *Store) validate() error {
	if len(s.Addresses) == 0 {
		return errors.New("address is needed, such as 10.0.0.1:6379")
	}
	for _, address := range s.Addresses {
		if err := s.checkAddress(address); err != nil {
			return err
		}
	}
	sentinel := s.SentinelUsername + s.SentinelPassword
	switch {
	case open(s.Prefix) && s.Prefix != "" && !prefixForm.MatchString(s.Prefix):
		return fmt.Errorf("prefix %q: use 1 to 64 letters, digits and any of . _ : / -", s.Prefix)
	case s.Username != "" && s.Password == "":
		return errors.New("username needs a password")
	case s.SentinelUsername != "" && s.SentinelPassword == "":
		return errors.New("sentinel_username needs a sentinel_password")
	case sentinel != "" && s.Master == "":
		return errors.New("sentinel_username and sentinel_password are for Sentinels: name their master")
	case len(s.Addresses) > 1 && s.Master == "" && s.DB != 0:
		return errors.New("db: a Cluster has only 0; use a prefix to keep stores apart")
	case s.Replicas != nil && (*s.Replicas < 0 || *s.Replicas > 5):
		return fmt.Errorf("replicas %d: use 0 to 5", *s.Replicas)
	case s.ReplicaTimeout != 0 && (time.Duration(s.ReplicaTimeout) < 100*time.Millisecond || time.Duration(s.ReplicaTimeout) > 3*time.Second):
		return fmt.Errorf("replica_timeout %v: use 100ms to 3s", time.Duration(s.ReplicaTimeout))
	}
	return s.checkTLS()
}

// open reports whether a text is as it will be used.
func open(text string) bool { return !strings.Contains(text, "{") }

func (s *Store) checkAddress(address string) error {
	if !open(address) {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if n, numeric := strconv.ParseUint(port, 10, 16); err != nil || host == "" || numeric != nil || n == 0 {
		return fmt.Errorf("address %q: write host and port, such as 10.0.0.1:6379", address)
	}
	ip, err := netip.ParseAddr(host)
	near := host == "localhost" || err == nil && ip.IsLoopback()
	if !near && !s.TLS && !s.InsecurePlaintext {
		return fmt.Errorf("address %s is on another machine: add tls, or insecure_plaintext for a network that encrypts by itself", address)
	}
	return nil
}

func (s *Store) checkTLS() error {
	switch {
	case !s.TLS && s.TLSCA+s.TLSCert+s.TLSKey+s.TLSServerName != "":
		return errors.New("tls_ca, tls_cert, tls_key and tls_server_name need tls")
	case (s.TLSCert == "") != (s.TLSKey == ""):
		return errors.New("tls_cert and tls_key belong together")
	case s.TLS && s.InsecurePlaintext:
		return errors.New("tls and insecure_plaintext exclude each other")
	}
	return nil
}

func (s *Store) tlsConfig() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.TLSServerName}
	if s.TLSCA != "" {
		text, err := os.ReadFile(s.TLSCA)
		if err != nil {
			return nil, fmt.Errorf("tls_ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("tls_ca: no certificate in %s", s.TLSCA)
		}
	}
	if s.TLSCert != "" {
		own, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("tls_cert and tls_key: %w", err)
		}
		conf.Certificates = []tls.Certificate{own}
	}
	return conf, nil
}
