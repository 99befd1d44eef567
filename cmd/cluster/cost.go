//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	rounds   = 16
	requests = 4000 // to each server in a round
	lines    = 16   // connections, kept alive
	signedIn = 64   // people whose tokens they send
	ticks    = 100  // of a processor's second in /proc (proc_pid_stat(5))
)

// arm is one of two servers that get the same requests in turn.
type arm struct {
	node     *node
	requests [][]byte
	conns    []net.Conn
	readers  []*bufio.Reader
	cost     []float64 // microseconds of processor time per request, by round
}

// cost compares a proxied request through a warm node with one through a proxy
// that sets the same headers, and counts what Redis is asked meanwhile.
func (p *plan) cost(ctx context.Context) (failed int, err error) {
	h, err := p.setUp(ctx, []string{"A"})
	defer h.tearDown()
	if err != nil {
		return 0, err
	}
	headers, err := h.startProxy(ctx)
	if err != nil {
		return 0, err
	}
	arms, err := arms(ctx, headers, h.nodes[0])
	if err != nil {
		return 0, err
	}
	asked, took := 0, time.Duration(0)
	for round := range rounds + 2 {
		for i := range arms {
			a := arms[(round+i)%len(arms)]
			before, start := h.commands(), time.Now()
			cost, err := a.measure()
			if err != nil {
				return 0, err
			}
			if round < 2 {
				continue // they warm up
			}
			a.cost = append(a.cost, cost)
			if a == arms[1] {
				asked, took = asked+h.commands()-before, took+time.Since(start)
			}
		}
	}
	before := h.commands()
	sleep(ctx, took)
	atRest := h.commands() - before
	return printClaims("A proxied request through a warm node on Redis, and through a proxy that sets the same six headers", costs(arms, asked, atRest, took)), nil
}

func costs(arms []*arm, asked, atRest int, took time.Duration) []claim {
	var ratios []float64
	sums := [2]float64{}
	for i := range rounds {
		ratios = append(ratios, arms[1].cost[i]/arms[0].cost[i])
		sums[0], sums[1] = sums[0]+arms[0].cost[i], sums[1]+arms[1].cost[i]
	}
	slices.Sort(ratios)
	middle := ratios[rounds/2]
	each := float64(asked-atRest) / rounds / requests
	return []claim{
		{
			"processor time against the proxy's: median of the rounds at most 1.07",
			fmt.Sprintf("%.3f (%.2f–%.2f), sums %.3f", middle, ratios[rounds/4], ratios[rounds*3/4], sums[1]/sums[0]), middle <= 1.07,
		},
		{
			fmt.Sprintf("commands to Redis for %d requests in %.1f s, beside those of as long a rest", rounds*requests, took.Seconds()),
			fmt.Sprintf("%d, %d: %.4f each", asked, atRest, each), each < 0.02,
		},
	}
}

// startProxy runs a Caddy that tells the app the same about everybody.
func (h *house) startProxy(ctx context.Context) (*node, error) {
	n, err := h.newNode("headers")
	if err != nil {
		return nil, err
	}
	n.ready = "/page"
	lines := ""
	for name, value := range map[string]string{
		"User-Id": "1", "User-Type": "customer", "User-Roles": "customer", "Session-Id": "AbCdEfGhIjKlMnOpQrStUv",
		"Device-Id": "browser-of-a-client-0001", "Time": strconv.FormatInt(time.Now().Unix(), 10),
	} {
		lines += fmt.Sprintf("\t\theader_up X-Auth-%s %s\n", name, value)
	}
	h.nodes = append(h.nodes, n)
	return n, n.run(ctx, fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	log {
		output file %s.log
	}
}
http://%s {
	bind 127.0.0.1
	reverse_proxy %s {
%s	}
}
`, n.file, n.address, h.plan.upstream, lines))
}

// arms signs people in, and opens the connections.
func arms(ctx context.Context, proxy, gate *node) ([]*arm, error) {
	both := []*arm{{node: proxy}, {node: gate}}
	for i := range signedIn {
		t, err := gate.signIn(ctx, phone(i), fmt.Sprintf("browser-of-a-client-%04d", i))
		if err != nil {
			return nil, err
		}
		for _, a := range both {
			a.requests = append(a.requests, fmt.Appendf(nil, "GET /page?page=2 HTTP/1.1\r\nHost: %s\r\n"+
				"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"+
				"Accept: application/json\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"+
				"Referer: http://%[1]s/\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\n"+
				"Cookie: theme=dark; lang=en\r\nAuthorization: Bearer %s\r\n\r\n", a.node.address, t.Access))
		}
	}
	for _, a := range both {
		for range lines {
			c, err := net.Dial("tcp", a.node.address)
			if err != nil {
				return nil, err
			}
			a.conns, a.readers = append(a.conns, c), append(a.readers, bufio.NewReader(c))
		}
	}
	return both, nil
}

// measure sends the requests of a round over all connections at once.
func (a *arm) measure() (microseconds float64, err error) {
	before, err := a.node.processorTime()
	if err != nil {
		return 0, err
	}
	const share = requests / lines
	failures := make([]error, lines)
	var wg sync.WaitGroup
	for line := range lines {
		wg.Go(func() {
			for i := 0; i < share && failures[line] == nil; i++ {
				failures[line] = a.exchange(line, a.requests[(line*share+i)%len(a.requests)])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failures...); err != nil {
		return 0, err
	}
	after, err := a.node.processorTime()
	return float64((after - before).Microseconds()) / (share * lines), err
}

func (a *arm) exchange(line int, request []byte) error {
	if _, err := a.conns[line].Write(request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(a.readers[line], nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return refused(a.node.name, http.StatusOK, resp.StatusCode, resp.Header.Get("Sidegate-Error"), err)
}

// processorTime is what the process has used, in user and system mode.
func (n *node) processorTime() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticks, errors.Join(err1, err2)
}

// commands counts what all primaries have been asked for by INFO commandstats.
// What servers ask each other, and we here, is left out.
func (h *house) commands() (n int) {
	for _, server := range h.redis.Servers[:len(h.redis.Servers)/2] {
		text, err := server.Do("INFO", "commandstats")
		if err != nil {
			panic(err) // a server of our own that nobody has touched
		}
		for line := range strings.Lines(text) {
			name, calls, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
			if !ok || name == "info" || name == "hello" || strings.HasPrefix(name, "replconf") {
				continue
			}
			calls, _, _ = strings.Cut(calls, ",")
			each, _ := strconv.Atoi(calls)
			n += each
		}
	}
	return n
}
