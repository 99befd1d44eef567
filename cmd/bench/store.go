//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
)

// shelf is `bench store`: how the embedded store, and the gate over it, grow
// with the number of sessions.
type shelf struct {
	dir, upstream string
	used          []int // how many sessions are used, from one look at the memory to the next
	cold          bool  // the kernel forgets the files before they are opened
}

func benchStore(args []string) error {
	var s shelf
	flags := flag.NewFlagSet("bench store", flag.ExitOnError) // which ends the process itself
	sizes := flags.String("sessions", "1000000,10000000", "numbers of sessions in the store")
	used := flags.String("used", "100000,1000000,5000000", "numbers of them that are used, to fill the table of live sessions")
	flags.StringVar(&s.dir, "dir", "", "where the store is made and removed again; about 1.2 GB for a million sessions. Default: the temporary directory")
	flags.BoolVar(&s.cold, "cold", false, "drop the kernel's page cache before each opening; needs root on Linux")
	_ = flags.Parse(args)
	filled, err := numbers(*sizes)
	if err == nil {
		s.used, err = numbers(*used)
	}
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp(s.dir, "sidegate-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	upstream, err := start(s.dir, "upstream")
	if err != nil {
		return err
	}
	defer upstream.stop()
	s.upstream = upstream.address
	fmt.Printf("%d processors, %s %s/%s\n", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	before := 0
	for _, n := range filled {
		tokens, err := s.fill(before, n)
		if err != nil {
			return fmt.Errorf("filling: %w", err)
		}
		if err := s.look(n, tokens); err != nil {
			return err
		}
		before = n
	}
	return nil
}

// numbers reads numbers with commas between, each larger than the last.
func numbers(list string) (all []int, err error) {
	last := 0
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n <= last || n%10_000 != 0 {
			return nil, fmt.Errorf("%s: use multiples of 10000 that grow, with commas between", list)
		}
		all, last = append(all, n), n
	}
	return all, nil
}

func (s shelf) start() (*child, error) {
	if s.cold {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0); err != nil {
			return nil, fmt.Errorf("-cold: %w", err)
		}
	}
	return startSite(s.dir, site{kind: 2, upstream: s.upstream, people: people, store: filepath.Join(s.dir, "store")}, 0)
}

const people = 1000 // real ones, whose requests are timed

// fill adds to the sessions in the store. Real people sign in before the last
// tenth, so that their records lie among the others.
func (s shelf) fill(from, to int) (tokens []string, err error) {
	server, err := s.start()
	if err != nil {
		return nil, err
	}
	defer server.stop()
	most, err := server.number("fill", from, to-to/10)
	if err != nil {
		return nil, err
	}
	if tokens, err = signIn(server.address, people, 1); err != nil {
		return nil, err
	}
	rest, err := server.number("fill", to-to/10, to)
	if err != nil {
		return nil, err
	}
	work, err := server.processorTime()
	if err != nil {
		return nil, err
	}
	fmt.Printf("\n%s sessions of %s users\n", thousands(to), thousands(to/seats))
	fmt.Printf("  %-42s %.0f s, processor time %.0f s, for %s\n", "filled in", float64(most+rest)/1e9, work.Seconds(), thousands(to-from))
	_, err = server.number("close")
	fmt.Printf("  %-42s %.2f GB\n", "on the disk", float64(sizeOf(filepath.Join(s.dir, "store")))/1e9)
	return tokens, err
}

// look opens the store and prints what it costs.
func (s shelf) look(filled int, tokens []string) error {
	server, err := s.start()
	if err != nil {
		return err
	}
	defer server.stop()
	opened, err := server.number("opened")
	if err != nil {
		return err
	}
	fmt.Printf("  %-42s %.2f s\n", "opened in", float64(opened)/1e9)
	if err := server.printMemory("memory: opened"); err != nil {
		return err
	}
	a := &arm{server: server, requests: requests(2, server.address, tokens)}
	if err := connect([]*arm{a}); err != nil {
		return err
	}
	for _, name := range []string{"cold", "warm"} {
		if err := a.timeEach(name); err != nil {
			return err
		}
	}
	last := 0
	for _, n := range s.used {
		if n = min(n, filled); n > last {
			if err := server.use(last, n); err != nil {
				return err
			}
			last = n
		}
	}
	_, err = server.number("close")
	return err
}

// timeEach sends every request once, one after the other.
func (a *arm) timeEach(name string) error {
	var took []float64
	before, err := a.server.processorTime()
	if err != nil {
		return err
	}
	for _, request := range a.requests {
		began := time.Now()
		if err := a.exchange(0, request); err != nil {
			return err
		}
		took = append(took, float64(time.Since(began).Nanoseconds())/1000)
	}
	after, err := a.server.processorTime()
	if err != nil {
		return err
	}
	slices.Sort(took)
	fmt.Printf("  %-42s median %.0f µs, p99 %.0f µs, processor time %.0f µs\n", "a proxied request, "+name,
		took[len(took)/2], took[len(took)*99/100], float64((after-before).Microseconds())/float64(len(took)))
	return nil
}

// use has sessions used that were not since the opening, then many of them
// again, and waits each time until the store knows.
func (c *child) use(from, to int) error {
	wall, work, err := c.working("use", from, to)
	if err != nil {
		return err
	}
	fmt.Printf("  %-42s %.1f µs each, processor time %.1f µs\n", thousands(to-from)+" more sessions used",
		wall.Seconds()*1e6/float64(to-from), work.Seconds()*1e6/float64(to-from))
	if _, err := c.number("flushed"); err != nil {
		return err
	}
	again := min(to, 100_000)
	if _, err := c.number("use", to-again, to); err != nil {
		return err
	}
	flush, work, err := c.working("flushed")
	if err != nil {
		return err
	}
	fmt.Printf("  %-42s %.2f s, processor time %.2f s\n", "touches of "+thousands(again)+" flushed in", flush.Seconds(), work.Seconds())
	return c.printMemory("memory: " + thousands(to) + " used")
}

// working is a number that is a time, and the processor time that it took.
func (c *child) working(question string, numbers ...int) (wall, work time.Duration, err error) {
	before, err := c.processorTime()
	if err != nil {
		return 0, 0, err
	}
	n, err := c.number(question, numbers...)
	if err != nil {
		return 0, 0, err
	}
	after, err := c.processorTime()
	return time.Duration(n), after - before, err
}

func (c *child) printMemory(name string) error {
	m, err := c.memory()
	fmt.Printf("  %-42s heap %.0f MB, resident %.0f MB, at most %.0f MB; mapped files %.0f MB\n", name,
		float64(m.Heap)/1e6, float64(m.Resident)/1e6, float64(m.Peak)/1e6, float64(m.Mapped)/1e6)
	return err
}

// number asks for something that is answered by a number.
func (c *child) number(question string, numbers ...int) (int64, error) {
	for _, n := range numbers {
		question += " " + strconv.Itoa(n)
	}
	text, err := c.ask(question)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errors.New(text)
	}
	return n, nil
}

func sizeOf(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if info, infoErr := d.Info(); err == nil && infoErr == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

// useSessions sends a request's worth of each session through the gate's own
// door.
func useSessions(from, to int) error {
	ctx := context.Background()
	app, err := caddy.ActiveContext().App("sidegate")
	if err != nil {
		return err
	}
	const part = 1000
	return together((to-from)/part, func(i int) error {
		for n := from + i*part; n < from+(i+1)*part; n++ {
			proof := auth.Proof{SessionID: idOf(n), Generation: 1, UserID: uint64(firstUser + n/seats)}
			if _, err := app.(*caddymodule.App).Authenticate(ctx, proof, auth.Activity); err != nil {
				return err
			}
		}
		return nil
	})
}

// touchStore times what is put into the store.
type touchStore struct {
	auth.Store
	writing atomic.Int64 // nanoseconds
}

// Put implements auth.Store.
func (s *touchStore) Put(ctx context.Context, writes []auth.Write) error {
	began := time.Now()
	defer func() { s.writing.Add(int64(time.Since(began))) }()
	return s.Store.Put(ctx, writes)
}

// answerStore does what a store's child is asked for, and says how long that
// took in nanoseconds.
func answerStore(question string) (took int64, err error) {
	var word string
	var from, to int
	_, _ = fmt.Sscan(question, &word, &from, &to)
	began := time.Now()
	switch word {
	case "opened":
		return int64(loading), nil
	case "fill":
		err = fillStore(from, to)
	case "use":
		err = useSessions(from, to)
	case "flushed":
		rest()
		return records.writing.Swap(0), nil
	case "close":
		err = caddy.Stop()
	default:
		err = fmt.Errorf("unknown: %s", question)
	}
	return int64(time.Since(began)), err
}
