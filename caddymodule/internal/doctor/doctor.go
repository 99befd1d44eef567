// Package doctor looks for what is dangerous about an installation and would be
// noticed only when it is too late. It reads a configuration of Caddy, looks at
// files, and knocks at doors; it changes nothing and sends no message.
package doctor

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Finding is something wrong, and what to do about it.
type Finding struct {
	What   string `json:"finding"`
	Remedy string `json:"remedy"`
}

// Check is one thing that was looked at.
type Check struct {
	Name     string    `json:"check"`
	State    State     `json:"state"`
	Why      string    `json:"why,omitempty"` // it was skipped
	Findings []Finding `json:"findings,omitempty"`
}

// State is how a check came out.
type State string

const (
	Good    State = "ok"
	Wrong   State = "wrong"
	Skipped State = "skipped"
)

// Report is all that was looked at.
type Report struct {
	Healthy bool    `json:"healthy"` // nothing is wrong
	Checks  []Check `json:"checks"`
}

// Patient is an installation.
type Patient struct {
	Config []byte // Caddy's, in JSON
	// Resolve fills the placeholders of a text in; an error means that one has
	// no value here.
	Resolve func(text string) (string, error)
	// StoreDir is where the embedded store is when the configuration does not say.
	StoreDir string
	// Future counts records that were made in the future, of a sample, and tells
	// by how much at most; nil: no server runs that could be asked.
	Future func(ctx context.Context) (records int, ahead time.Duration, err error)
	// Ready says why the store of the running server takes no writes; nil: no
	// server runs that could be asked.
	Ready func(ctx context.Context) error
	// Examine looks at the files of a store that no server has open, or says why
	// it does not.
	Examine func(dir string) (skipped string, wrong error)
	// Own lists the addresses of this machine; nil: those of its interfaces.
	Own func() ([]net.IP, error)
}

// check is one of Examine's. It gives what is wrong, or why it cannot say.
type check struct {
	name string
	look func(ctx context.Context, p *Patient, c *config) (found []Finding, skipped string)
}

var checks = []check{
	{"file modes", files},
	{"store", store},
	{"clock", clock},
	{"senders", senders},
	{"way around the gate", around},
	{"plain http", plainHTTP},
	{"secrets", secrets},
	{"trusted proxies", trustedProxies},
	{"admin endpoint", adminEndpoint},
}

// Examine looks at everything. The error is about the configuration.
func Examine(ctx context.Context, p Patient) (Report, error) {
	if p.Own == nil {
		p.Own = ownAddresses
	}
	c, err := parse(p.Config)
	if err != nil {
		return Report{}, fmt.Errorf("reading the configuration: %w", err)
	}
	r := Report{Healthy: true}
	for _, check := range checks {
		found, skipped := check.look(ctx, &p, c)
		result := Check{Name: check.name, State: Good, Why: skipped, Findings: found}
		switch {
		case len(found) > 0:
			result.State, r.Healthy = Wrong, false
		case skipped != "":
			result.State = Skipped
		}
		r.Checks = append(r.Checks, result)
	}
	return r, nil
}

// clock looks for records of the future. Nobody outside is asked for the time.
func clock(ctx context.Context, p *Patient, _ *config) ([]Finding, string) {
	if p.Future == nil {
		return nil, "only a running server can look at its records"
	}
	records, ahead, err := p.Future(ctx)
	if err != nil {
		return nil, "the records cannot be read: " + err.Error()
	}
	if records == 0 {
		return nil, ""
	}
	return []Finding{{
		fmt.Sprintf("%d of the records looked at were made in the future, up to %s from now: the clock is wrong, or was.", records, ahead.Round(time.Second)),
		"Have the machine keep its time (timedatectl set-ntp true). If the clock is right now, nothing else is needed: such times are taken for now.",
	}}, ""
}
