package redisstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
	"github.com/sidegate/sidegate/caddymodule/storetest"
)

var aclLine = regexp.MustCompile(`(?m)^ACL SETUSER (sidegate|watcher) (.*)$`)

// allow makes the users that docs/scale.md shows.
func allow(t *testing.T, user string, servers ...*redistest.Server) {
	t.Helper()
	page, err := os.ReadFile("../../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string]string{}
	for _, line := range aclLine.FindAllSubmatch(page, -1) {
		rules[string(line[1])] = strings.ReplaceAll(string(line[2]), ">PASSWORD", ">secret")
	}
	if rules[user] == "" {
		t.Fatalf("docs/scale.md shows no ACL SETUSER %s", user)
	}
	for _, server := range servers {
		if _, err := server.Do(append([]string{"ACL", "SETUSER", user}, strings.Fields(rules[user])...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// The users that docs/scale.md shows may do what is needed, and a stolen password
// opens nothing but the records, which are sealed.
func TestDocumentedUserIsEnough(t *testing.T) {
	t.Parallel()
	single := start(t, redistest.Start)
	watched := start(t, redistest.StartWatched)
	cluster := start(t, redistest.StartCluster)
	allow(t, "sidegate", append(append(watched.Servers, cluster.Servers...), single)...)
	allow(t, "watcher", watched.Sentinels...)
	for name, opt := range map[string]Options{
		"one server": {Addresses: []string{single.Address}},
		"Sentinel": {
			Addresses: watched.Addresses(), Master: redistest.Master, Replicas: 1, SentinelUsername: "watcher", SentinelPassword: "secret",
		},
		"Cluster": {Addresses: cluster.Addresses(), Replicas: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opt.Username, opt.Password, opt.Prefix = "sidegate", "secret", "sidegate:"
			a, b := newNode(t, opt), newNode(t, opt)
			g := a.signIn()
			b.passes(g)
			if err := a.logout(g); err != nil {
				t.Fatal(err)
			}
			within(t, time.Second, "the end is heard", func() bool { return isRevoked(b.request(g)) })
			if err := a.Live.Flush(t.Context(), a.Store); err != nil {
				t.Error(err)
			}
			opt.Prefix = "other:"
			if _, err := openAt(t, opt).Swap(t.Context(), 0, auth.Write{Key: "k", Value: []byte("v")}); !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("the user wrote under another prefix: %v", err)
			}
		})
	}
}

// A user with the rights of an earlier version is told at the start, and not by
// the first sign-in.
func TestRightsOfTheIndexAreNeeded(t *testing.T) {
	t.Parallel()
	for _, lacks := range []string{"zadd", "zrem", "zrangebylex"} {
		server := start(t, redistest.Start)
		allow(t, "sidegate", server)
		if _, err := server.Do("ACL", "SETUSER", "sidegate", "-"+lacks); err != nil {
			t.Fatal(err)
		}
		opt := Options{Addresses: []string{server.Address}, Username: "sidegate", Password: "secret", Prefix: "sidegate:", Seal: testVault(t)}
		if _, err := Open(t.Context(), opt); err == nil || !strings.Contains(err.Error(), "its user lacks one of +zadd") {
			t.Errorf("without %s: %v", lacks, err)
		}
	}
}

// Nothing may be said in plain text to another machine: the password comes
// first, and whoever listens has it.
func TestPlaintextStaysHere(t *testing.T) {
	away := awayAddress(t)
	listener, err := net.Listen("tcp", net.JoinHostPort(away, "0"))
	if err != nil {
		t.Skip("no address of this machine beside the loopback: ", err)
	}
	defer listener.Close()
	heard := make(chan int, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			n, _ := conn.Read(make([]byte, 100))
			_ = conn.Close()
			heard <- n
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	opt := Options{Addresses: []string{listener.Addr().String()}, Password: "secret"}
	if _, err := Open(ctx, opt); !errors.Is(err, errPlaintext) {
		t.Errorf("got %v", err)
	}
	if n := <-heard; n != 0 {
		t.Errorf("%d bytes went to another machine in plain text", n)
	}
	opt.Plaintext = true
	if _, err := Open(ctx, opt); err == nil || errors.Is(err, errPlaintext) {
		t.Errorf("allowed, and got %v", err)
	}
	if n := <-heard; n == 0 {
		t.Error("allowed, and nothing was said")
	}
}

func awayAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			return ip.IP.String()
		}
	}
	return "192.0.2.1" // cannot be listened at
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server := start(t, redistest.Start)
	files, own := certificate(t)
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	if answer, err := server.Do("CONFIG", "SET", "tls-cert-file", files+".pem", "tls-key-file", files+".key", "tls-ca-cert-file", files+".pem", "tls-port", port); err != nil {
		t.Skipf("this Redis has no TLS: %s %v", answer, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(own.Leaf)
	mutual := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{own}, ServerName: "redis.test"}
	t.Run("conformance", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T, now func() time.Time) auth.Store {
			return openTest(t, Options{Addresses: []string{address}, TLS: mutual, Now: now})
		})
	})
	nodes := newNodes(t, 2, Options{Addresses: []string{address}, TLS: mutual})
	g := nodes[0].signIn()
	nodes[1].passes(g)
	for name, conf := range map[string]*tls.Config{
		"somebody else's certificate": {Certificates: []tls.Certificate{own}, ServerName: "redis.test"},
		"another name":                {RootCAs: pool, Certificates: []tls.Certificate{own}, ServerName: "other.test"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if _, err := Open(ctx, Options{Addresses: []string{address}, TLS: conf}); !errors.As(err, new(*tls.CertificateVerificationError)) || ctx.Err() != nil {
			t.Errorf("%s: got %v", name, err)
		}
		cancel()
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// certificate makes a certificate that vouches for itself, as files and to use.
func certificate(t *testing.T) (files string, pair tls.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"redis.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	public, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	files = filepath.Join(t.TempDir(), "redis")
	for suffix, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: public}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(files+suffix, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.LoadX509KeyPair(files+".pem", files+".key"); err != nil {
		t.Fatal(err)
	}
	return files, pair
}
