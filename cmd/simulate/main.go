// Command simulate runs the limits against attacks, or against recorded
// traffic, and prints what they stop: `go run ./cmd/simulate [-limits FILE] [FILE]`.
//
// FILE holds one request a line, as docs/fraud.md describes. -limits names a
// JSON file with the limits of a configuration, as `caddy adapt` writes them
// (apps.sidegate.limits); without it the defaults are used.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/simulate"
)

func main() {
	file := flag.String("limits", "", "a JSON file with the limits")
	flag.Parse()
	if err := run(os.Stdout, *file, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

// errBar says that a simulation let through more than it may.
var errBar = errors.New("the limits let too much through, or too little")

func run(out io.Writer, limitsFile, traffic string) error {
	var configured caddymodule.Limits
	if limitsFile != "" {
		text, err := os.ReadFile(limitsFile)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &configured); err != nil {
			return fmt.Errorf("%s: %w", limitsFile, err)
		}
	}
	limits, err := configured.Rules()
	if err != nil {
		return err
	}
	if traffic == "" {
		pumping, guessing := pump(out, limits), guess(out, limits)
		return errors.Join(pumping, guessing)
	}
	lines, err := os.Open(traffic)
	if err != nil {
		return err
	}
	defer lines.Close()
	r, err := simulate.Replay(limits, lines)
	if err == nil {
		r.Report(out)
	}
	return err
}

func pump(out io.Writer, limits simulate.Limits) error {
	good := true
	for _, countries := range []int{1, 3, 50} {
		p, err := simulate.Pumping(limits, countries)
		if err != nil {
			return err
		}
		good = good && p.Sent*100 <= p.Requests*3 && p.Refused == 0
		fmt.Fprintf(out, "pumping, %d countries: %d of %d messages sent (%.2f %%, bar 3 %%); %d of %d honest sign-ins refused (bar 0), %d had to show work\n",
			countries, p.Sent, p.Requests, 100*float64(p.Sent)/float64(p.Requests), p.Refused, p.Honest, p.Puzzles)
	}
	if !good {
		return errBar
	}
	return nil
}

func guess(out io.Writer, limits simulate.Limits) error {
	g, err := simulate.Guessing(limits, 7)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "guessing, 7 days: %d challenges, %d tries, %d compared, at most %d in a day: a chance of %.1e a day (bar 2e-05); owner locked out %d of %d times (bar 0)\n",
		g.Challenges, g.Tries, g.Compared, g.MostInADay, g.Chance, g.LockedOut, g.Owner)
	if g.Chance > 2e-5 || g.LockedOut > 0 {
		return errBar
	}
	return nil
}
