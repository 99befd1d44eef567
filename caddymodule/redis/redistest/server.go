// Package redistest starts real Redis servers for tests: single ones, some that
// Sentinel watches, and Clusters, on free ports of the loopback.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// ErrNoServer says that this machine has no Redis.
var ErrNoServer = errors.New("no redis-server here: apt-get install redis-tools, or name one in SIDEGATE_REDIS_SERVER")

// Binary finds a Redis or Valkey server. Debian's redis-tools has it under the
// name of another tool, and starts no service beside the tests.
func Binary() (string, error) {
	if path := os.Getenv("SIDEGATE_REDIS_SERVER"); path != "" {
		return path, nil
	}
	for _, name := range []string{"redis-server", "redis-check-rdb", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoServer
}

// mustTest is set by cmd/test, which installs what is missing: then no test may
// be left out.
const mustTest = "SIDEGATE_SKIP_NOTHING"

// Need skips a test, visibly, where there is no Redis.
func Need(t testing.TB) {
	t.Helper()
	if _, err := Binary(); err != nil && os.Getenv(mustTest) != "" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
}

// Server is one process.
type Server struct {
	Address string
	port    string
	dir     string
	args    []string
	secret  string

	mu      sync.Mutex
	process *exec.Cmd
	exited  chan struct{}
}

// Start starts a server whose files are in dir, and waits until it answers. args
// are its options, such as --appendonly yes.
func Start(dir string, args ...string) (*Server, error) {
	return start(dir, append([]string{"--save", ""}, args...))
}

func start(dir string, args []string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{Address: net.JoinHostPort("127.0.0.1", port), port: port, dir: filepath.Join(dir, port)}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	// A file comes first, and options after it.
	var file []string
	if len(args) > 0 && !strings.HasPrefix(args[0], "--") {
		file, args = args[:1], args[1:]
	}
	s.args = slices.Concat(file, []string{"--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--logfile", filepath.Join(s.dir, "log")}, args)
	return s, s.Restart()
}

// Restart starts the server again after Kill, with the files that it left.
func (s *Server) Restart() error {
	path, err := Binary()
	if err != nil {
		return err
	}
	name := "redis-server" // decides what redis-check-rdb does
	if strings.HasSuffix(path, "valkey-server") {
		name = "valkey-server"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = &exec.Cmd{Path: path, Args: append([]string{name}, s.args...), SysProcAttr: orphanless()}
	if err := s.process.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func(process *exec.Cmd, exited chan struct{}) {
		_ = process.Wait()
		close(exited)
	}(s.process, s.exited)
	return s.await()
}

// await waits for the first answer.
func (s *Server) await() error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		conn, err := net.DialTimeout("tcp", s.Address, time.Second)
		if err == nil {
			_ = conn.Close()
			return nil
		}
		select {
		case <-s.exited:
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("the server has ended: %s", log)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return errors.New("the server does not answer")
}

// Kill ends the process at once, without a last word.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	s.mu.Lock()
	defer s.mu.Unlock()
	<-s.exited
}

// SetArgs adds options for the next Restart.
func (s *Server) SetArgs(args ...string) { s.args = append(s.args, args...) }

// Authenticate sets the password that Do uses.
func (s *Server) Authenticate(password string) { s.secret = password }

// Close is Kill, for what closes all it has started.
func (s *Server) Close() error {
	s.Kill()
	return nil
}

// Pause stops the process; its connections stay open. Resume lets it go on.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.process.Process.Signal(sig)
}

// Do sends one command and gives the answer as text.
func (s *Server) Do(args ...string) (string, error) {
	client, err := s.client()
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := client.Do(ctx, client.B().Arbitrary(args...).Build()).ToAny()
	return fmt.Sprint(answer), err
}

func (s *Server) client() (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.Address}, Password: s.secret, ForceSingleClient: true, DisableCache: true,
		ClientSetInfo: rueidis.DisableClientSetInfo, ReadBufferEachConn: 4096, WriteBufferEachConn: 4096,
	})
}

// eventually repeats a question until the answer has a text in it.
func (s *Server) eventually(has string, args ...string) error {
	var answer string
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if answer, err = s.Do(args...); err == nil && strings.Contains(answer, has) {
			return nil
		}
	}
	return fmt.Errorf("%s: %v: no %q in %.300q, %w", s.Address, args, has, answer, err)
}

// freePort finds a port that nobody listens at, for the moment.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
