package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

const (
	// silence is how often an idle connection is asked for a sign of life, and
	// patience how long that and any other answer may take. rueidis would
	// notice a server that hangs after 10 s.
	silence  = 500 * time.Millisecond
	patience = time.Second

	// buffers hold a large record. rueidis would take a megabyte for each
	// connection.
	buffers = 64 << 10
	// pooled bounds the connections that wait for replicas, for each server.
	pooled = 128
)

// connect makes the client: of a Cluster, of a server that Sentinel watches, or
// of one server.
func connect(ctx context.Context, opt Options) (rueidis.Client, error) {
	for {
		client, err := rueidis.NewClient(opt.client())
		if err == nil {
			return client, nil
		}
		if !passing(err) {
			return nil, explained(err, opt)
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(silence):
		}
	}
}

func (o Options) client() rueidis.ClientOption {
	dialer := net.Dialer{Timeout: patience, KeepAlive: silence}
	return rueidis.ClientOption{
		InitAddress: o.Addresses, SelectDB: o.DB,
		Username: o.Username, Password: o.Password, TLSConfig: o.TLS,
		Dialer: dialer, DialCtxFn: o.dial, ConnWriteTimeout: patience,
		Sentinel: rueidis.SentinelOption{
			MasterSet: o.Master, Username: o.SentinelUsername, Password: o.SentinelPassword,
			TLSConfig: o.TLS, Dialer: dialer,
			// A primary that was deposed and lives on closes no connection, and
			// the message of it may be missed.
			TopologyRefreshInterval: patience,
		},
		ClusterOption: rueidis.ClusterOption{ShardsRefreshInterval: patience},
		// What is kept in memory is not kept here: see Follow.
		DisableCache:  true,
		ClientSetInfo: rueidis.DisableClientSetInfo,

		ReadBufferEachConn: buffers, WriteBufferEachConn: buffers,
		BlockingPoolSize: pooled, BlockingPoolMinSize: 4, BlockingPoolCleanup: time.Minute,
	}
}

var errPlaintext = errors.New("plain text to another machine would show the password and every record to whoever is on the way")

// dial connects. Also a server that Sentinel or a Cluster has named may be on
// another machine, so the rule of plain text is held here.
func (o Options) dial(ctx context.Context, address string, dialer *net.Dialer, conf *tls.Config) (net.Conn, error) {
	if conf != nil {
		return (&tls.Dialer{NetDialer: dialer, Config: conf}).DialContext(ctx, "tcp", address)
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil || o.Plaintext {
		return conn, err
	}
	if at, ok := conn.RemoteAddr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		_ = conn.Close()
		return nil, fmt.Errorf("%s: %w", address, errPlaintext)
	}
	return conn, nil
}

// passing reports whether an error of connecting may be over in a moment: a
// server that starts, a primary that is being chosen. A password does not
// become right.
func passing(err error) bool {
	if errors.Is(err, errPlaintext) || errors.As(err, new(*tls.CertificateVerificationError)) {
		return false
	}
	refusal, ok := refusalOf(err)
	return !ok || refusal.IsLoading() || refusal.IsClusterDown() || strings.HasPrefix(refusal.Error(), "MASTERDOWN")
}

func explained(err error, opt Options) error {
	if len(opt.Addresses) > 1 && opt.Master == "" && strings.Contains(err.Error(), "cluster support disabled") {
		return fmt.Errorf("several addresses are for a Cluster, or for Sentinels with the name of their master: %w", err)
	}
	return err
}
