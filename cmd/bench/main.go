//go:build unix

// Command bench prints what the gate costs:
//
//	go run ./cmd/bench           # processor time of a proxied request
//	go run ./cmd/bench streams   # memory of open WebSockets, and how fast they end
//	go run ./cmd/bench store     # the embedded store with millions of sessions
//
// The first runs three kinds of Caddy side by side, each in a process of its own, in
// front of one upstream: a bare reverse_proxy; one that sets the six identity
// headers with header_up; and one with the gate, for each number of live
// sessions. It sends all of them the same requests in turn, round after round,
// and compares the processor time that each has used per request. Wall-clock
// time would measure the load generator, the upstream and the neighbours too.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	clients = 64   // signed-in clients, each with a token of its own
	lines   = 16   // connections, kept alive
	bar     = 1.05 // what the gate may cost, against the same headers by header_up
	warmUp  = 2    // rounds that do not count
)

type settings struct {
	rounds, requests int
	sessions         []int
}

func main() {
	if role := os.Getenv(childRole); role != "" {
		exitOn(serve(role, os.Args[1:]))
		return
	}
	part := ""
	if len(os.Args) > 1 {
		part = os.Args[1]
	}
	switch part {
	case "streams":
		exitOn(benchStreams(os.Args[2:]))
	case "store":
		exitOn(benchStore(os.Args[2:]))
	default:
		s, err := readFlags()
		exitOn(err)
		exitOn(bench(s))
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func readFlags() (settings, error) {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 16, "rounds that count")
	flag.IntVar(&s.requests, "requests", 4000, "requests to each server in a round")
	list := flag.String("sessions", "1000,100000,1000000", "numbers of live sessions")
	flag.Parse()
	for text := range strings.SplitSeq(*list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < perUser {
			return s, fmt.Errorf("-sessions %s: use whole numbers from %d, with commas between", *list, perUser)
		}
		s.sessions = append(s.sessions, n)
	}
	if s.rounds < 1 || s.requests < lines {
		return s, fmt.Errorf("at least one round of %d requests is needed", lines)
	}
	return s, nil
}

// arm is one of the compared servers.
type arm struct {
	name     string
	server   *child
	requests [][]byte
	conns    []net.Conn
	readers  []*bufio.Reader
	cost     []float64 // microseconds of processor time per request, by round
}

func bench(s settings) error {
	dir, err := os.MkdirTemp("", "sidegate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	upstream, err := start(dir, "upstream")
	if err != nil {
		return err
	}
	defer upstream.stop()
	arms, err := startArms(dir, upstream.address, s.sessions)
	defer func() {
		for _, a := range arms {
			a.server.stop()
		}
	}()
	if err != nil {
		return err
	}
	for round := range warmUp + s.rounds {
		for i := range arms {
			a := arms[(round+i)%len(arms)] // so that nobody always has the same neighbour
			cost, err := a.measure(s.requests)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			if round >= warmUp {
				a.cost = append(a.cost, cost)
			}
		}
	}
	report(os.Stdout, s, arms)
	return nil
}

// startArms runs the servers: bare, headers, then the gate with each number of
// sessions. What has started is returned even with an error.
func startArms(dir, upstream string, sessions []int) (arms []*arm, err error) {
	names := []string{"bare reverse_proxy", "six headers by header_up"}
	for _, n := range sessions {
		names = append(names, fmt.Sprintf("gate, %s live sessions", thousands(n)))
	}
	var tokens []string
	for i, name := range names {
		a := &arm{name: name}
		live := 0
		if i >= 2 {
			live = sessions[i-2]
		}
		fmt.Fprintf(os.Stderr, "starting: %s\n", name)
		if a.server, err = startSite(dir, site{kind: i, upstream: upstream, people: 1}, live); err != nil {
			return arms, fmt.Errorf("%s: %w", name, err)
		}
		arms = append(arms, a)
		if i >= 2 {
			if tokens, err = signIn(a.server.address, 1, clients); err != nil {
				return arms, err
			}
		}
		a.requests = requests(i, a.server.address, tokens)
	}
	// The proxies get requests that look the same, with somebody's tokens.
	for i := range arms[:2] {
		arms[i].requests = requests(i, arms[i].server.address, tokens)
	}
	return arms, connect(arms)
}

// signIn signs people in, each on some devices, and returns the tokens of one
// after the other.
func signIn(address string, people, devices int) (tokens []string, err error) {
	for i := range people * devices {
		phone := testPhone(i / devices)
		var pending struct {
			ID string `json:"challenge_id"`
		}
		if err := post(address, "/otp", "", map[string]any{"phone": phone}, &pending); err != nil {
			return nil, err
		}
		var grant struct {
			Token string `json:"access_token"`
		}
		err := post(address, "/otp/verify", "", map[string]any{
			"challenge_id": pending.ID, "code": testCode,
			"device": map[string]string{"device_id": fmt.Sprintf("browser-of-a-client-%04d", i)},
		}, &grant)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, grant.Token)
	}
	return tokens, nil
}

// post sends a request to the API; token and into may be left out.
func post(address, path, token string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+address+"/api/v1/auth"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		problem, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s: %s: %s", path, resp.Status, problem)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// requests are those of a page that asks its API, as a browser sends them.
func requests(kind int, address string, tokens []string) (all [][]byte) {
	path := "/app/items?page=2"
	if kind == 0 {
		path = "/raw/items?page=2" // where the upstream wants no identity
	}
	for _, token := range tokens {
		all = append(all, fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n"+
			"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"+
			"Accept: application/json\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"+
			"Referer: http://%[2]s/\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\n"+
			"Cookie: theme=dark; lang=en\r\nAuthorization: Bearer %s\r\n\r\n", path, address, token))
	}
	return all
}

// connect comes last: a server closes a connection that has been idle for as
// long as a million sessions take to make.
func connect(arms []*arm) error {
	for _, a := range arms {
		for range lines {
			c, err := net.Dial("tcp", a.server.address)
			if err != nil {
				return err
			}
			a.conns = append(a.conns, c)
			a.readers = append(a.readers, bufio.NewReader(c))
		}
	}
	return nil
}

// measure sends n requests over all connections at once and returns the
// processor time per request that the server has used meanwhile.
func (a *arm) measure(n int) (float64, error) {
	before, err := a.server.processorTime()
	if err != nil {
		return 0, err
	}
	share := n / lines
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
	after, err := a.server.processorTime()
	return float64((after - before).Nanoseconds()) / 1000 / float64(share*lines), err
}

func (a *arm) exchange(line int, request []byte) error {
	if _, err := a.conns[line].Write(request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(a.readers[line], nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}

// report prints the table. A ratio is taken within each round; its spread is
// that of the middle half of the rounds. The last one is of the sums: what
// happens in few rounds, such as a collection of garbage, counts in it alone.
func report(w io.Writer, s settings, arms []*arm) {
	fmt.Fprintf(w, "Processor time per proxied request: %d rounds of %d requests, %d connections, %d processors, %s %s/%s\n\n",
		s.rounds, s.requests, lines, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(w, "%-32s %8s  %-20s %-20s %-7s %s\n", "", "median", "× bare (spread)", "× headers (spread)", "in all", fmt.Sprintf("at most %.2f", bar))
	for i, a := range arms {
		verdict := ""
		ratio, text := ratios(a.cost, arms[1].cost)
		if i >= 2 {
			verdict = "pass"
			if ratio > bar {
				verdict = "FAIL"
			}
		}
		_, bare := ratios(a.cost, arms[0].cost)
		middle, _, _ := quartiles(a.cost)
		fmt.Fprintf(w, "%-32s %6.1fµs  %-20s %-20s %-7.3f %s\n", a.name, middle, bare, text, sum(a.cost)/sum(arms[1].cost), verdict)
	}
}

func sum(v []float64) (total float64) {
	for _, x := range v {
		total += x
	}
	return total
}

func ratios(a, b []float64) (median float64, text string) {
	var each []float64
	for i := range a {
		each = append(each, a[i]/b[i])
	}
	median, low, high := quartiles(each)
	return median, fmt.Sprintf("%.3f (%.2f–%.2f)", median, low, high)
}

func quartiles(v []float64) (median, low, high float64) {
	sorted := slices.Sorted(slices.Values(v))
	at := func(part float64) float64 {
		x := part * float64(len(sorted)-1)
		i := int(x)
		return sorted[i] + (x-float64(i))*(sorted[min(i+1, len(sorted)-1)]-sorted[i])
	}
	return at(0.5), at(0.25), at(0.75)
}

func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return text
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
