package redis_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/redis/redistest"
)

// childConfig names a JSON configuration; with it the test binary is a Caddy,
// until its input ends with its parent: a node more.
const childConfig = "SIDEGATE_TEST_CHILD"

func runChild(file string) {
	config, err := os.ReadFile(file)
	if err == nil {
		err = caddy.Load(config, true)
	}
	fmt.Println("ready", err)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// spawn runs another node in a process of its own.
func (g *gate) spawn(store string) *gate {
	g.t.Helper()
	other := &gate{t: g.t, address: freeAddress(g.t), log: filepath.Join(g.t.TempDir(), "log"), upstream: g.upstream}
	file := filepath.Join(g.t.TempDir(), "config.json")
	if err := os.WriteFile(file, other.config(store), 0o600); err != nil {
		g.t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childConfig+"="+file)
	_, err1 := child.StdinPipe()
	out, err2 := child.StdoutPipe()
	if err := errors.Join(err1, err2, child.Start()); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready <nil>\n" {
		g.t.Fatalf("the other node: %q", line)
	}
	return other
}

// socketApp holds WebSockets and says nothing.
func socketApp(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}))
	return l.Addr().String()
}

// open opens a WebSocket through the gate.
func (g *gate) open(token string) net.Conn {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.address)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n\r\n", g.address, token)
	resp, err := http.ReadResponse(bufio.NewReaderSize(oneByOne{conn}, 16), nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		g.t.Fatalf("a WebSocket: %v %v", resp, err)
	}
	return conn
}

// oneByOne keeps a reader from taking more than it needs.
type oneByOne struct{ io.Reader }

func (o oneByOne) Read(b []byte) (int, error) { return o.Reader.Read(b[:min(1, len(b))]) }

// closeCode is that of the close frame that comes within a time; 0 for none.
func closeCode(conn net.Conn, within time.Duration) int {
	_ = conn.SetReadDeadline(time.Now().Add(within))
	var frame [4]byte // FIN and opcode, length, code
	if _, err := io.ReadFull(conn, frame[:]); err != nil {
		return 0
	}
	return int(binary.BigEndian.Uint16(frame[2:]))
}

// A thief keeps a WebSocket open at one node. The owner ends its session at
// another, and a second later it must be over. A node that cannot hear of that
// must not keep it open either, and must tell nobody that a session has ended.
func TestAWebSocketEndsWithItsSessionOnAnotherNode(t *testing.T) {
	server := startRedis(t)
	way, err := redistest.NewLink("127.0.0.1:0", server.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = way.Close() })
	store := func(address string) string {
		return fmt.Sprintf("master_key %s\n store redis {\n address %s\n }", masterKey, address)
	}
	a := newGate(t)
	a.upstream = socketApp(t)
	if err := a.load(store(server.Address)); err != nil {
		t.Fatal(err)
	}
	b := a.spawn(store(way.Address))
	stays, ends := a.signIn(), a.signIn()
	open, over := b.open(stays), b.open(ends)

	if status, _, body := a.do("POST", "/api/v1/auth/logout", ends, "{}"); status != http.StatusNoContent {
		t.Fatalf("logout: %d %s", status, body)
	}
	if code := closeCode(over, time.Second); code != 4401 {
		t.Errorf("within a second it was closed with %d, want 4401", code)
	}
	if code := closeCode(open, 300*time.Millisecond); code != 0 {
		t.Errorf("another session's was closed with %d", code)
	}

	way.Hang()
	start := time.Now()
	if code := closeCode(open, 10*time.Second); code != 1001 {
		t.Errorf("without news it was closed with %d, want 1001", code)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("without news it was open for %v", took)
	}
	way.Heal()
	for until := time.Now().Add(20 * time.Second); ; {
		status, code, _ := b.do("GET", "/", stays, "")
		if status == http.StatusOK {
			break
		}
		if status != http.StatusServiceUnavailable || time.Now().After(until) {
			t.Fatalf("after the outage: %d %s", status, code)
		}
	}
	if code := closeCode(b.open(stays), 300*time.Millisecond); code != 0 {
		t.Errorf("a new one was closed with %d", code)
	}
}

// After a power cut the servers of a Cluster and the nodes come back together. A
// node must wait until all of Redis answers, and not give up, for nobody may be
// there to start it again.
func TestANodeStartsWithItsCluster(t *testing.T) {
	redistest.Need(t)
	cluster, err := redistest.StartCluster(t.TempDir(), "--appendonly", "yes", "--appendfsync", "always")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	g := newGate(t)
	store := fmt.Sprintf("master_key %s\n store redis {\n address %s\n replicas 1\n }", masterKey, strings.Join(cluster.Addresses(), " "))
	if err := g.load(store); err != nil {
		t.Fatal(err)
	}
	token := g.signIn()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, server := range cluster.Servers {
		server.Kill()
	}
	for _, server := range cluster.Servers {
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.load(store); err != nil {
		t.Fatal(err)
	}
	if status, code, _ := g.do("GET", "/", token, ""); status != http.StatusOK {
		t.Errorf("got %d %s", status, code)
	}
}
