package simulate

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/phone"
)

// recorded is a line of recorded traffic.
type recorded struct {
	Time   time.Time `json:"time"`
	IP     string    `json:"ip"`
	Phone  string    `json:"phone"`
	Verify bool      `json:"verify"` // the code was brought back
}

// Replayed is what the limits would have made of recorded traffic.
type Replayed struct {
	Requests, Sent int
	// Stopped counts the requests that got no message, by the limit that
	// stopped them; Wronged those of them whose code was in truth brought back.
	Stopped, Wronged map[string]int
}

// Replay sends recorded requests, one JSON object a line in the order of their
// times, through the limits. Codes that were brought back are, half a minute
// later.
func Replay(limits Limits, lines io.Reader) (r Replayed, err error) {
	r.Stopped, r.Wronged = map[string]int{}, map[string]int{}
	w, err := newWorld(limits, midday)
	if err != nil {
		return r, err
	}
	var events []event
	scan := bufio.NewScanner(lines)
	for n := 1; scan.Scan(); n++ {
		if len(scan.Bytes()) == 0 {
			continue
		}
		var line recorded
		if err := json.Unmarshal(scan.Bytes(), &line); err != nil || line.Time.IsZero() {
			return r, fmt.Errorf(`line %d: write it as {"time":"2027-01-11T12:00:00Z","ip":"192.0.2.1","phone":"+46701234567","verify":true}`, n)
		}
		events = append(events, event{line.Time, w.recorded(line, &r)})
	}
	w.play(events)
	return r, scan.Err()
}

func (w *world) recorded(line recorded, r *Replayed) func(time.Time) []event {
	return func(now time.Time) []event {
		r.Requests++
		id, code, why := w.replay(line)
		if code == "" {
			r.Stopped[why]++
			if line.Verify {
				r.Wronged[why]++
			}
			return nil
		}
		r.Sent++
		if !line.Verify {
			return nil
		}
		return []event{{now.Add(30 * time.Second), func(time.Time) []event {
			_, _ = w.verify(auth.VerifyRequest{ChallengeID: id, Code: code, ClientIP: line.IP})
			return nil
		}}}
	}
}

func (w *world) replay(line recorded) (id, code, why string) {
	number, err := phone.Parse(line.Phone)
	if err != nil {
		return "", "", "not a number"
	}
	if err := phone.Allowed(number, []string{phone.AllCountries}); err != nil || phone.OnlyCalls(number) {
		return "", "", "a kind of number that gets no code"
	}
	id, code, err = w.ask(auth.StartRequest{Phone: number, Country: phone.Country(number), ClientIP: line.IP}, line.Verify)
	switch {
	case err != nil:
		return id, "", cmp.Or(auth.AsError(err).Limit, string(auth.AsError(err).Code))
	case code == "":
		return id, "", "suppressed"
	}
	return id, code, ""
}

// Report writes what was found, for people.
func (r Replayed) Report(w io.Writer) {
	fmt.Fprintf(w, "%d requests, %d messages\n", r.Requests, r.Sent)
	for _, why := range slices.Sorted(maps.Keys(r.Stopped)) {
		fmt.Fprintf(w, "%7d stopped by %s, %d of them brought their code back\n", r.Stopped[why], why, r.Wronged[why])
	}
}
