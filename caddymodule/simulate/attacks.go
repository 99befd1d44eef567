package simulate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// midday of a day: what the simulations call now.
var midday = time.Date(2027, 1, 11, 12, 0, 0, 0, time.UTC)

// Pumped is what came of a pumping attack.
type Pumped struct {
	Requests, Sent  int // the attack's, and of those that got a message
	Honest, Refused int // sign-ins of people, and those that did not succeed
	Puzzles         int // of people, whose client had work to show
}

// Pumping lets 10 000 requests for 50 blocks of numbers come from 2 000
// addresses within an hour, and among them 500 people sign in in other
// countries. The blocks are spread over so many countries.
func Pumping(limits Limits, countries int) (p Pumped, err error) {
	w, err := newWorld(limits, midday)
	if err != nil {
		return p, err
	}
	dice := rand.New(rand.NewPCG(1, uint64(countries)))
	hour := func() time.Time { return midday.Add(time.Duration(dice.Int64N(int64(time.Hour)))) }
	var events []event
	for i := range 10_000 {
		block := i % 50
		events = append(events, event{hour(), func(time.Time) []event {
			p.Requests++
			_, code, _ := w.ask(auth.StartRequest{
				Phone:   fmt.Sprintf("+99%02d%03d%04d", block%countries, block, dice.IntN(10_000)),
				Country: fmt.Sprintf("A%02d", block%countries), ClientIP: fmt.Sprintf("198.18.%d.%d", i%2000/250, i%2000%250),
			}, false)
			if code != "" {
				p.Sent++
			}
			return nil
		}})
	}
	for i := range 500 {
		r := auth.StartRequest{
			Phone: fmt.Sprintf("+46%09d", dice.IntN(1_000_000_000)), Country: []string{"SE", "NO", "GB"}[i%3],
			ClientIP: fmt.Sprintf("203.0.%d.%d", i/250, i%250),
		}
		events = append(events, event{hour(), w.person(r, &p, dice)})
	}
	w.play(events)
	return p, nil
}

// person asks for a code, reads it for half a minute or so and brings it back.
func (w *world) person(r auth.StartRequest, p *Pumped, dice *rand.Rand) func(time.Time) []event {
	return func(now time.Time) []event {
		p.Honest++
		id, code, err := w.ask(r, false)
		var refusal *auth.Error
		if errors.As(err, &refusal) && refusal.Puzzle != nil {
			p.Puzzles++
			id, code, err = w.ask(r, true)
		}
		if err != nil || code == "" {
			p.Refused++
			return nil
		}
		return []event{{now.Add(15*time.Second + time.Duration(dice.Int64N(int64(45*time.Second)))), func(time.Time) []event {
			if _, err := w.verify(auth.VerifyRequest{ChallengeID: id, Code: code, ClientIP: r.ClientIP}); err != nil {
				p.Refused++
			}
			return nil
		}}}
	}
}

// event is something that happens at a time, and leads to further events.
type event struct {
	at time.Time
	do func(now time.Time) []event
}

// play lets events happen in the order of their times.
func (w *world) play(events []event) {
	byTime := func(a, b event) int { return a.at.Compare(b.at) }
	slices.SortStableFunc(events, byTime)
	var later []event
	for len(events)+len(later) > 0 {
		queue := &events
		if len(events) == 0 || len(later) > 0 && later[0].at.Before(events[0].at) {
			queue = &later
		}
		next := (*queue)[0]
		*queue = (*queue)[1:]
		w.now = next.at
		if more := next.do(next.at); len(more) > 0 {
			later = append(later, more...)
			slices.SortStableFunc(later, byTime)
		}
	}
}

// Guessed is what came of guessing at one number.
type Guessed struct {
	Challenges, Tries int
	Compared          int     // guesses that a code was really compared with
	MostInADay        int     // of these, in the worst 24 hours
	Chance            float64 // that one of a day's guesses is right
	Owner, LockedOut  int     // sign-ins that the owner tried in the known browser, and that failed
}

// Guessing lets a stranger guess at one number for days, with as many challenges
// and addresses as they like, while its owner signs in every four hours in a
// browser that is known.
func Guessing(limits Limits, days int) (g Guessed, err error) {
	const phone = "+46701234567"
	w, err := newWorld(limits, midday)
	if err != nil {
		return g, err
	}
	id, code, err := w.ask(auth.StartRequest{Phone: phone, Country: "SE", ClientIP: "203.0.113.1"}, true)
	if err != nil {
		return g, err
	}
	grant, err := w.verify(auth.VerifyRequest{ChallengeID: id, Code: code})
	if err != nil {
		return g, err
	}
	var compared []time.Time
	var live []string // challenges that have not said they are over
	for minute := range days * 24 * 60 {
		w.now = midday.Add(time.Duration(minute) * time.Minute)
		address := fmt.Sprintf("198.%d.%d.%d", 18+minute>>16, minute>>8&255, minute&255)
		if id, _, err := w.ask(auth.StartRequest{Phone: phone, Country: "SE", ClientIP: address}, true); err == nil {
			g.Challenges++
			live = append(live, id)
		}
		live = slices.DeleteFunc(live, func(id string) bool {
			g.Tries++
			before := w.derived.Load()
			_, err := w.verify(auth.VerifyRequest{ChallengeID: id, Code: fmt.Sprintf("%06d", g.Tries%1_000_000), ClientIP: address})
			if w.derived.Load() > before {
				compared = append(compared, w.now)
			}
			return !errors.Is(err, auth.Refuse(auth.CodeOTPInvalid)) && !errors.Is(err, auth.Refuse(auth.CodeTooManyFailures))
		})
		if minute%240 == 60 {
			w.owner(&g, phone, &grant)
		}
	}
	g.Compared, g.MostInADay = len(compared), mostInADay(compared)
	g.Chance = float64(g.MostInADay) / 1e6
	return g, nil
}

func (w *world) owner(g *Guessed, phone string, grant *auth.Grant) {
	g.Owner++
	id, code, err := w.ask(auth.StartRequest{Phone: phone, Country: "SE", ClientIP: "203.0.113.1", DeviceProof: grant.DeviceProof}, true)
	if err == nil {
		*grant, err = w.verify(auth.VerifyRequest{ChallengeID: id, Code: code, ClientIP: "203.0.113.1", DeviceProof: grant.DeviceProof})
	}
	if err != nil {
		g.LockedOut++
	}
}

func mostInADay(times []time.Time) (most int) {
	first := 0
	for last, at := range times {
		for at.Sub(times[first]) >= 24*time.Hour {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}
