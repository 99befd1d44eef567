package sql_test

import (
	stdsql "database/sql"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/sql"
)

const short = caddy.Duration(300 * time.Millisecond)

// asks wants a question's outcome, and words of its error.
func asks(t *testing.T, what string, users auth.Directory, want, words string) {
	t.Helper()
	account, err := users.Resolve(t.Context(), known, "challenge")
	discreet(t, err)
	if got := outcome(account, err); got != want || err != nil && !strings.Contains(err.Error(), words) {
		t.Errorf("%s: got %s (%v), want %s with %q", what, got, err, want, words)
	}
}

// comesBack waits until the database answers again, on a machine that is busy.
func comesBack(t *testing.T, what string, users auth.Directory) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if outcome(users.Resolve(t.Context(), known, "challenge")) != fault {
			break
		}
	}
	asks(t, what, users, staff, "")
}

// goroutines waits until there are no more of them than before.
func goroutines(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func TestWrongPassword(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		users := open(t, &sql.Directory{Engine: s.engine, DSN: s.dsn("sidegate", password+"-no-more"), Query: s.ask(of("1, 'a', ''"))})
		asks(t, "a wrong password", users, fault, "wrong user or password")
	})
}

func TestNotAllowed(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		query := "SELECT 1, password, '' FROM mysql.user WHERE user = ?"
		if s.engine == "postgres" {
			query = "SELECT 1, rolpassword, '' FROM pg_authid WHERE rolname = $1"
		}
		asks(t, "a table of others", s.directory(t, query), fault, "may not read this")
	})
}

func TestNobodyListens(t *testing.T) {
	for engine, dsn := range map[string]string{
		"postgres": "postgres://sidegate:" + password + "@127.0.0.1:1/app?sslmode=disable",
		"mysql":    "sidegate:" + password + "@tcp(127.0.0.1:1)/app",
	} {
		users := open(t, &sql.Directory{Engine: engine, DSN: dsn, Query: "SELECT $1 ?"})
		asks(t, engine, users, fault, "reaching the database: dial tcp 127.0.0.1:1")
	}
}

// A server that crashes costs the questions of that time, and none later: the
// pool finds out by itself.
func TestTheServerComesBack(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.table(t)
		users := s.directory(t, of("id, user_type, roles"))
		for range 2 {
			asks(t, "while it runs", users, staff, "")
			s.kill()
			asks(t, "while it is gone", users, fault, "reaching the database")
			if err := s.start(); err != nil {
				t.Fatal(err)
			}
			asks(t, "the first question after it came back", users, staff, "")
			s.kill() // and comes back before anybody asks: kept connections are dead
			if err := s.start(); err != nil {
				t.Fatal(err)
			}
			asks(t, "the first question after a restart", users, staff, "")
		}
	})
}

// What answers at the address is no database, or one that hangs: a question ends
// in its time, and nothing of it is left.
func TestStrangeServers(t *testing.T) {
	for _, row := range []struct {
		name   string
		answer func(net.Conn)
		words  string
	}{
		{"silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "did not answer in time"},
		{"hangs up", func(net.Conn) {}, "the connection to the database broke"},
		{"has no TLS, or speaks HTTP", func(c net.Conn) { _, _ = io.WriteString(c, "NHTTP/1.1 400 +46701234567 hunter2\r\n\r\n") }, "the connection to the database broke"},
	} {
		for engine, dsn := range map[string]string{
			"postgres": "postgres://sidegate:" + password + "@ADDRESS/app?sslmode=verify-full",
			"mysql":    "sidegate:" + password + "@tcp(ADDRESS)/app?tls=true",
		} {
			t.Run(row.name+" "+engine, func(t *testing.T) {
				before := runtime.NumGoroutine()
				address, stop := listen(t, row.answer)
				d := &sql.Directory{Engine: engine, DSN: strings.Replace(dsn, "ADDRESS", address, 1), Query: "SELECT $1 ?", Timeout: short, MaxOpen: 4}
				if err := provision(d); err != nil {
					t.Fatal(err)
				}
				users, err := d.Directory(nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				var asking sync.WaitGroup
				start := time.Now()
				for range 20 { // more than may be open at once: the others wait their time
					asking.Go(func() {
						if got := outcome(users.Resolve(t.Context(), known, "challenge")); got != fault {
							t.Errorf("got %s", got)
						}
					})
				}
				asking.Wait()
				asks(t, "once more", users, fault, row.words)
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("took %v", took)
				}
				users.(io.Closer).Close()
				stop()
				goroutines(t, before)
			})
		}
	}
}

// listen answers at an address of its own until it is stopped.
func listen(t *testing.T, answer func(net.Conn)) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var working sync.WaitGroup
	working.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			working.Go(func() {
				defer c.Close()
				answer(c)
			})
		}
	})
	return l.Addr().String(), func() {
		l.Close()
		working.Wait()
	}
}

// The server stops answering on a connection that is open, as when a migration
// holds the table or its machine is frozen.
func TestTheServerHangs(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.table(t)
		before := runtime.NumGoroutine()
		d := &sql.Directory{Engine: s.engine, DSN: s.dsn("sidegate", password), Query: s.ask(of("id, user_type, roles")), Timeout: short, MaxOpen: 2}
		users := open(t, d)
		asks(t, "at first", users, staff, "")

		unlock := s.lock(t)
		for range 4 {
			asks(t, "while the table is locked", users, fault, "did not answer in time")
		}
		unlock()
		comesBack(t, "when it is free again", users)

		s.signal(syscall.SIGSTOP)
		if s.engine == "mysql" { // of PostgreSQL only what takes new connections has stopped
			for outcome(users.Resolve(t.Context(), known, "challenge")) != fault {
			}
			asks(t, "while the server is stopped", users, fault, "did not answer in time")
		}
		parallel(8, func() { _, _ = users.Resolve(t.Context(), known, "challenge") })
		s.signal(syscall.SIGCONT)
		comesBack(t, "when it goes on", users)
		users.(io.Closer).Close()
		goroutines(t, before)
	})
}

func parallel(n int, do func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(do)
	}
	all.Wait()
}

// lock keeps everybody else from reading the table.
func (s *server) lock(t *testing.T) (unlock func()) {
	t.Helper()
	db, err := stdsql.Open(s.driver, s.admin)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lock := []string{"LOCK TABLES users WRITE"}
	if s.engine == "postgres" {
		lock = []string{"BEGIN", "LOCK TABLE users"}
	}
	for _, statement := range lock {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		conn.Close()
		db.Close() // which rolls back, and unlocks
	}
}

// Never more connections than max_open, and none once the directory is closed.
func TestConnectionsAreBounded(t *testing.T) {
	s := start(t, postgres)
	s.waitForConnections(t, 0) // those of other tests
	const want = 3
	query := "SELECT 1 + (SELECT count(*) FROM pg_stat_activity WHERE usename = 'sidegate' AND pid <> pg_backend_pid()), 'a', pg_sleep(0.02)::text WHERE $1 <> ''"
	d := &sql.Directory{Engine: s.engine, DSN: s.dsn("sidegate", password), Query: query, MaxOpen: want}
	if err := provision(d); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	users, err := d.Directory(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var most uint64
	parallel(30, func() {
		account, err := users.Resolve(t.Context(), known, "challenge")
		mu.Lock()
		defer mu.Unlock()
		if most = max(most, account.UserID); err != nil {
			t.Error(err)
		}
	})
	if most != want {
		t.Errorf("%d connections at once, want %d", most, want)
	}
	users.(io.Closer).Close()
	goroutines(t, before)
	asks(t, "a question that comes too late", users, fault, "broke")
	s.waitForConnections(t, 0)
}

// waitForConnections waits until the directory's user has so many.
func (s *server) waitForConnections(t *testing.T, want int) {
	t.Helper()
	got := s.connections(t)
	for deadline := time.Now().Add(5 * time.Second); got != want && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		got = s.connections(t)
	}
	if got != want {
		t.Errorf("%d connections, want %d", got, want)
	}
}

func (s *server) connections(t *testing.T) (n int) {
	t.Helper()
	db, err := stdsql.Open(s.driver, s.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE usename = 'sidegate'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
