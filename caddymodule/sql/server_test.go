package sql_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// mustTest is set by cmd/test, which installs what is missing: then no test may
// be left out.
const mustTest = "SIDEGATE_SKIP_NOTHING"

const password = "hunter2"

// server is a real database of our own, with its files and its socket in a
// directory of its own. It listens on no port.
type server struct {
	engine  string // as the directory calls it
	driver  string // as database/sql calls it
	dir     string
	setUp   [][]string
	command []string
	admin   string // a DSN

	running *exec.Cmd
	ended   chan struct{}
}

func (s *server) dsn(user, password string) string {
	if s.engine == "postgres" {
		return fmt.Sprintf("host=%s user=%s password=%s dbname=postgres", s.dir, user, password)
	}
	return fmt.Sprintf("%s:%s@unix(%s/socket)/app", user, password, s.dir)
}

var servers []*server

// endServers is for TestMain.
func endServers() {
	for _, s := range servers {
		s.kill()
		os.RemoveAll(s.dir)
	}
}

var (
	postgres = sync.OnceValues(startPostgres)
	mariadb  = sync.OnceValues(startMariaDB)
)

var errMissing = errors.New("is not installed; go run ./cmd/test installs it")

// start gives the one server of a kind, and skips where there is none.
func start(t testing.TB, get func() (*server, error)) *server {
	t.Helper()
	s, err := get()
	if errors.Is(err, errMissing) && os.Getenv(mustTest) == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// each runs a test against every kind of server.
func each(t *testing.T, test func(t *testing.T, s *server)) {
	t.Run("postgres", func(t *testing.T) { test(t, start(t, postgres)) })
	t.Run("mariadb", func(t *testing.T) { test(t, start(t, mariadb)) })
}

// program finds one in PATH, or where Debian hides it.
func program(name, hidden string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if found, _ := filepath.Glob(hidden); len(found) > 0 {
		return found[len(found)-1], nil
	}
	return "", fmt.Errorf("%s %w", name, errMissing)
}

func startPostgres() (*server, error) {
	initdb, err := program("initdb", "/usr/lib/postgresql/*/bin/initdb")
	postgres, err2 := program("postgres", "/usr/lib/postgresql/*/bin/postgres")
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	s := &server{engine: "postgres", driver: "pgx"}
	return s, s.begin(func() error {
		data, secret := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "password")
		s.admin = s.dsn("postgres", password)
		s.setUp = [][]string{
			{initdb, "-D", data, "-U", "postgres", "--auth=scram-sha-256", "--pwfile=" + secret, "--no-locale", "-E", "UTF8", "--no-sync"},
		}
		s.command = []string{postgres, "-D", data, "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"}
		return os.WriteFile(secret, []byte(password), 0o644)
	}, "CREATE ROLE sidegate LOGIN PASSWORD '"+password+"'")
}

func startMariaDB() (*server, error) {
	install, err := program("mariadb-install-db", "")
	mariadbd, err2 := program("mariadbd", "/usr/sbin/mariadbd")
	_, err3 := program("my_print_defaults", "") // which the first of them runs
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	s := &server{engine: "mysql", driver: "mysql"}
	err = s.begin(func() error {
		data, socket := "--datadir="+filepath.Join(s.dir, "data"), filepath.Join(s.dir, "socket")
		s.admin = "root@unix(" + socket + ")/"
		s.setUp = [][]string{
			{install, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"},
		}
		s.command = []string{mariadbd, "--no-defaults", data, "--socket=" + socket, "--skip-networking", "--innodb-buffer-pool-size=16M"}
		return nil
	}, "CREATE DATABASE app", "CREATE USER sidegate IDENTIFIED BY '"+password+"'", "GRANT ALL ON app.* TO sidegate")
	s.admin += "app"
	return s, err
}

// begin makes the database, starts the server and runs the first statements.
func (s *server) begin(describe func() error, statements ...string) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "sidegate-sql-"); err != nil { // a short path: it holds a socket
		return err
	}
	servers = append(servers, s)
	if err := describe(); err != nil {
		return err
	}
	if id := unprivileged(); id != nil {
		if err := os.Chown(s.dir, int(id.Uid), int(id.Gid)); err != nil {
			return err
		}
	}
	for _, line := range s.setUp {
		if out, err := s.exec(line).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", line[0], err, out)
		}
	}
	if err := s.start(); err != nil {
		return err
	}
	return s.run(statements...)
}

// exec is a command by a user that may run databases: they refuse to be root.
func (s *server) exec(line []string) *exec.Cmd {
	command := exec.Command(line[0], line[1:]...)
	command.Dir = s.dir
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + s.dir}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: unprivileged()}
	endWithUs(command.SysProcAttr)
	return command
}

func unprivileged() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// start starts the server and waits until it answers.
func (s *server) start() error {
	var log bytes.Buffer
	s.running, s.ended = s.exec(s.command), make(chan struct{})
	s.running.Stdout, s.running.Stderr = &log, &log
	if err := s.running.Start(); err != nil {
		return err
	}
	go func() {
		defer close(s.ended)
		_ = s.running.Wait()
	}()
	db, err := sql.Open(s.driver, s.admin)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("%s ended: %s", s.command[0], log.String())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", s.command[0], err)
		case <-tick.C:
		}
	}
}

// kill ends the server at once, as a crash does.
func (s *server) kill() {
	if s.running == nil {
		return
	}
	s.signal(syscall.SIGCONT)
	if s.engine == "postgres" {
		s.signal(syscall.SIGQUIT) // its children go with it
	} else {
		s.signal(syscall.SIGKILL)
	}
	<-s.ended
	s.running = nil
}

func (s *server) signal(signal os.Signal) { _ = s.running.Process.Signal(signal) }

// run runs statements as the administrator.
func (s *server) run(statements ...string) error {
	db, err := sql.Open(s.driver, s.admin)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
