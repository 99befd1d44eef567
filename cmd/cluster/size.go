//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	town  = 1000 // people who sign in, for sizes and prices
	group = 20   // who ask for a code before the first of them has used it
)

// size prints what people leave in Redis, and what each of their steps costs
// it. They have numbers like anybody's, and the limits count them.
func (p *plan) size(ctx context.Context) error {
	// What a primary keeps for a replica that falls behind would look like memory of people.
	h, err := p.setUp(ctx, nil, "--repl-backlog-size", "16kb")
	defer h.tearDown()
	if err != nil {
		return err
	}
	codes := filepath.Join(h.dir, "codes")
	n, err := h.newNode("A")
	if err != nil {
		return err
	}
	h.nodes = append(h.nodes, n)
	if err := n.run(ctx, n.caddyfile(h.redis.Addresses(), p.upstream, everyday(codes))); err != nil {
		return err
	}
	rest := h.price(func() error { sleep(ctx, 10*time.Second); return nil })
	fmt.Printf("\nOne node at rest asks for %.1f commands a second, %.2f ms of Redis's processors\n", rest.commands/10, rest.processor/10*1000)

	var all []tokens
	fmt.Printf("\n%-44s %10s %12s %12s\n", "each, in Redis", "commands", "processor", "memory")
	steps := []struct {
		name   string
		second bool // of the time that it takes
		do     func() error
	}{
		{"sign-in: a code sent, and verified", false, func() (err error) { all, err = signInTown(ctx, n, codes); return err }},
		{"first proxied request at another node", false, func() error { return h.meet(ctx, codes, all) }},
		{"refresh", false, func() error { return each(all, func(t tokens) (err error) { _, err = n.refresh(ctx, t); return err }) }},
		{"a session in use, for a second", true, func() error { return h.browseFor(ctx, 15*time.Second, all) }},
	}
	for _, step := range steps {
		if err := h.printPrice(step.name, step.second, rest, step.do); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	if err := h.printRecords(); err != nil {
		return err
	}
	return h.printPrice("logout", false, rest, func() error { return each(all, func(t tokens) error { return n.logout(ctx, t) }) })
}

// price is what all primaries have worked, and hold.
type price struct {
	commands, processor, memory, took float64
}

func (h *house) price(do func() error) price {
	before, start := h.spent(), time.Now()
	if err := do(); err != nil {
		return price{}
	}
	after := h.spent()
	return price{after.commands - before.commands, after.processor - before.processor, after.memory - before.memory, time.Since(start).Seconds()}
}

func (h *house) printPrice(name string, second bool, rest price, do func() error) (err error) {
	got := h.price(func() error { err = do(); return err })
	if err != nil {
		return err
	}
	share, times := got.took/rest.took, float64(town) // share is of what a node asks for anyway
	if second {
		times *= got.took
	}
	fmt.Printf("%-44s %10.2f %9.1f µs %9.0f B\n", name, (got.commands-rest.commands*share)/times,
		(got.processor-rest.processor*share)/times*1e6, got.memory/times)
	return nil
}

func (h *house) spent() (p price) {
	p.commands = float64(h.commands())
	for _, server := range h.redis.Servers[:len(h.redis.Servers)/2] {
		text, err := server.Do("INFO", "everything")
		if err != nil {
			panic(err) // a server of our own that nobody has touched
		}
		p.processor += number(text, "used_cpu_user") + number(text, "used_cpu_sys")
		p.memory += number(text, "used_memory")
	}
	return p
}

func number(info, name string) float64 {
	_, rest, _ := strings.Cut(info, "\n"+name+":")
	text, _, _ := strings.Cut(rest, "\r")
	n, _ := strconv.ParseFloat(text, 64) // Redis has all that are asked for
	return n
}

func each(all []tokens, do func(tokens) error) error {
	for _, t := range all {
		if err := do(t); err != nil {
			return err
		}
	}
	return nil
}

// signInTown signs everybody in, in groups: codes that nobody uses look like
// fraud.
func signInTown(ctx context.Context, n *node, codes string) (all []tokens, err error) {
	for first := 0; first < town; first += group {
		var ids []string
		for i := range group {
			id, err := n.challenge(ctx, fmt.Sprintf("+4670%03d%04d", (first+i)%1000, 1234+first))
			if err != nil {
				return nil, err
			}
			ids = append(ids, id)
		}
		for i, id := range ids {
			code, err := codeOf(codes, id)
			if err != nil {
				return nil, err
			}
			t, err := n.verify(ctx, id, code, fmt.Sprintf("browser-of-somebody-%04d", first+i))
			if err != nil {
				return nil, err
			}
			all = append(all, t)
		}
	}
	return all, nil
}

// codeOf finds the code of a message in the file of sender file.
func codeOf(file, id string) (string, error) {
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		f, err := os.Open(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var message struct{ ID, Code string }
			if json.Unmarshal(lines.Bytes(), &message) == nil && strings.HasPrefix(message.ID, id) {
				return message.Code, f.Close()
			}
		}
		_ = f.Close()
	}
	return "", errors.New("no code was sent")
}

// meet shows everybody to a node that knows none of them.
func (h *house) meet(ctx context.Context, codes string, all []tokens) error {
	n, err := h.newNode("B")
	if err != nil {
		return err
	}
	h.nodes = append(h.nodes, n)
	if err := n.run(ctx, n.caddyfile(h.redis.Addresses(), h.plan.upstream, everyday(codes))); err != nil {
		return err
	}
	defer func() {
		n.kill()
		h.nodes = h.nodes[:1]
	}()
	return each(all, func(t tokens) error {
		status, code, err := n.browse(ctx, t)
		return refused("browse", 200, status, code, err)
	})
}

// browseFor has everybody browse all the time.
func (h *house) browseFor(ctx context.Context, d time.Duration, all []tokens) error {
	for until := time.Now().Add(d); time.Now().Before(until); {
		err := each(all, func(t tokens) error {
			status, code, err := h.nodes[0].browse(ctx, t)
			return refused("browse", 200, status, code, err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// printRecords asks Redis for the memory of each record (MEMORY USAGE), by kind.
func (h *house) printRecords() error {
	count, bytes := map[string]int{}, map[string]int{}
	for _, server := range h.redis.Servers[:len(h.redis.Servers)/2] {
		text, err := server.Do("KEYS", "sidegate:*")
		if err != nil {
			return err
		}
		for key := range strings.FieldsSeq(strings.Trim(text, "[]")) {
			usage, err := server.Do("MEMORY", "USAGE", key, "SAMPLES", "0")
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(usage)
			if err != nil {
				continue // it has expired since
			}
			kind, _, _ := strings.Cut(strings.TrimPrefix(key, "sidegate:"), "/")
			count[kind], bytes[kind] = count[kind]+1, bytes[kind]+n
		}
	}
	fmt.Printf("\n%-44s %10s %12s %12s\n", "records", "number", "bytes each", "per person")
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(count)) {
		total += bytes[kind]
		fmt.Printf("%-44s %10d %12d %12d\n", kind, count[kind], bytes[kind]/count[kind], bytes[kind]/town)
	}
	fmt.Printf("%-44s %10s %12s %12d\n\n", "in all", "", "", total/town)
	return nil
}
