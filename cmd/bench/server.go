//go:build unix

package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
)

// childRole makes this program one of its own servers: "upstream", or "caddy"
// with a Caddyfile and a number of sessions as arguments.
const childRole = "SIDEGATE_BENCH_CHILD"

func init() { caddy.RegisterModule(new(openStore)) }

// serve is a child's whole life. It says "ready" and its address, answers what
// it is asked, and ends with its parent.
func serve(role string, args []string) error {
	var address string
	var err error
	if role == "upstream" {
		address, err = startUpstream()
	} else {
		address, err = startCaddy(args)
	}
	if err != nil {
		return err
	}
	go watchPeak()
	fmt.Println("ready", address)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch question := lines.Text(); question {
		case askTime:
			fmt.Println(int64(processorTime()))
		case askMemory:
			m := memoryInUse()
			fmt.Println(m.Heap, m.Stacks, m.Resident, m.Peak, m.Mapped)
		default:
			took, err := answerStore(question)
			if err != nil {
				fmt.Println(strings.ReplaceAll(err.Error(), "\n", "; "))
				continue
			}
			fmt.Println(took)
		}
	}
	return nil
}

// startUpstream is the app: it refuses a request below /app that comes without
// an identity, so that no arm is cheap because it does not work.
func startUpstream() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/app") && (r.Header.Get("X-Auth-Session-Id") == "" || r.Header.Get("X-Auth-Time") == "") {
			http.Error(w, "no identity", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"items":[1,2,3],"next":null,"total":3}`)
	}))
	return l.Addr().String(), nil
}

func startCaddy(args []string) (string, error) {
	if len(args) != 2 {
		return "", errors.New("a Caddyfile and a number of sessions are needed")
	}
	sessions, err := strconv.Atoi(args[1])
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return "", err
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": args[0]})
	if err != nil {
		return "", err
	}
	began := time.Now()
	if err := caddy.Load(config, true); err != nil {
		return "", err
	}
	loading = time.Since(began)
	if sessions == 0 {
		return "", nil
	}
	return "", signInMany(context.Background(), sessions)
}

// openStore is the embedded store of the product. It also keeps what it has
// opened, so that sessions can be put there without a sign-in for each.
type openStore struct{ caddymodule.BadgerStore }

var (
	records touchStore
	loading time.Duration // of the configuration, with the opening of its store
)

// CaddyModule returns the Caddy module information.
func (*openStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "sidegate.stores.bench", New: func() caddy.Module { return new(openStore) }}
}

// Open opens the directory, or makes it.
func (s *openStore) Open(ctx context.Context, seal caddymodule.Sealer, log *slog.Logger) (auth.Store, io.Closer, error) {
	store, closer, err := s.BadgerStore.Open(ctx, seal, log)
	records.Store = store
	return &records, closer, err
}

const (
	perUser   = 10      // sessions of each user
	batch     = 100     // users who are written together
	firstUser = 1 << 32 // far from the users who sign in
)

// signInMany puts sessions into the store, as sign-ins would leave them, and
// sends a request's worth of each through the gate's own door, so that all of
// them live in its table. It returns when they are written down and the process
// is at rest.
func signInMany(ctx context.Context, sessions int) error {
	app, err := caddy.ActiveContext().App("sidegate")
	if err != nil {
		return err
	}
	const workers = 4
	failures := make([]error, workers)
	var wg sync.WaitGroup
	users := sessions / perUser
	for w := range workers {
		wg.Go(func() {
			for u := w * batch; u < users && failures[w] == nil; u += workers * batch {
				failures[w] = makeUsers(ctx, app.(*caddymodule.App), firstUser+u, min(batch, users-u))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("making sessions: %w", err)
	}
	rest()
	return nil
}

// makeUsers makes users with all their sessions.
func makeUsers(ctx context.Context, app *caddymodule.App, first, users int) error {
	now := time.Now().UTC().Truncate(time.Millisecond)
	var writes []auth.Write
	var proofs []auth.Proof
	for id := uint64(first); id < uint64(first+users); id++ {
		user := auth.User{ID: id, Phone: fmt.Sprint("+", id), Type: "customer", Roles: []string{"customer"}, CreatedAt: now}
		for range perUser {
			v := auth.Session{
				ID: auth.NewSessionID(), UserID: id, DeviceID: "browser-of-a-client-0001",
				CreatedAt: now, AuthTime: now, ExpiresAt: now.Add(30 * 24 * time.Hour), Generation: 1, RotatedAt: now,
			}
			user.Sessions = append(user.Sessions, auth.Seat{SessionID: v.ID, DeviceID: v.DeviceID})
			writes = append(writes, record("session/"+v.ID.String(), v))
			proofs = append(proofs, auth.Proof{SessionID: v.ID, Generation: 1, UserID: id})
		}
		writes = append(writes, record(fmt.Sprint("user/", id), user))
	}
	if err := records.Put(ctx, writes); err != nil {
		return err
	}
	for _, proof := range proofs {
		if _, err := app.Authenticate(ctx, proof, auth.Activity); err != nil {
			return err
		}
	}
	return nil
}

// record is a value in the form that package auth gives its records: one byte
// for the format, then JSON.
func record(key string, v any) auth.Write {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // not with these types
	}
	return auth.Write{Key: key, Value: append([]byte{1}, text...)}
}

// rest waits until the process has hardly worked for longer than the time
// between two writings of touches, or for two minutes.
func rest() {
	quiet := 0
	last := processorTime()
	for deadline := time.Now().Add(2 * time.Minute); quiet < 8 && time.Now().Before(deadline); quiet++ {
		time.Sleep(500 * time.Millisecond)
		now := processorTime()
		if now-last > 25*time.Millisecond {
			quiet = -1
		}
		last = now
	}
}

// site is the configuration of a server.
type site struct {
	kind           int // 0 bare, 1 headers, else the gate
	upstream       string
	proxy          string // lines of its reverse_proxy
	people         int    // who can sign in
	address, store string // startSite's
}

func (s site) caddyfile() string {
	global, gate, proxy := "", "", s.proxy
	switch s.kind {
	case 0:
	case 1:
		for name, value := range map[string]string{
			"User-Id": "1", "User-Type": "customer", "User-Roles": "customer", "Session-Id": "AbCdEfGhIjKlMnOpQrStUv",
			"Device-Id": "browser-of-a-client-0001", "Time": strconv.FormatInt(time.Now().Unix(), 10),
		} {
			proxy += fmt.Sprintf("\t\theader_up X-Auth-%s %s\n", name, value)
		}
	default:
		gate = "sidegate"
		global = fmt.Sprintf(`	sidegate {
		store bench {
			path %s
		}
		sender log
		otp {
			%s
		}
		tokens {
			access_ttl 1h
		}
		limits {
			phone_sends  off
			ip_sends     off
			prefix_sends off
			global_sends off
		}
		sessions {
			max_per_user 100
		}
	}
`, s.store, s.testNumbers())
	}
	return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	log {
		level ERROR
	}
%s}
http://%s {
	bind 127.0.0.1
	%s
	reverse_proxy %s {
%s	}
}
`, global, s.address, gate, cmp.Or(s.upstream, s.address), proxy)
}

func (s site) testNumbers() string {
	var text strings.Builder
	until := time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	for i := range s.people {
		fmt.Fprintf(&text, "\t\t\ttest_number %s %s until %s\n", testPhone(i), testCode, until)
	}
	return text.String()
}

// testPhone is the number of somebody who can sign in with testCode.
func testPhone(i int) string { return fmt.Sprintf("+1555%07d", 5_550_100+i) }

const testCode = "424242"
