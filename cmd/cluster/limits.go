//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
)

// limits asks all nodes at once for more than they may give together.
func limits(ctx context.Context, h *house, _ settings) ([]claim, error) {
	sent, err := h.sends(ctx)
	if err != nil {
		return nil, err
	}
	tries, err := h.tries(ctx)
	if err != nil {
		return nil, err
	}
	seats, err := h.seats(ctx)
	if err != nil {
		return nil, err
	}
	near := func(got, limit int) bool { return got >= limit-1 && got <= limit+1 }
	return []claim{
		{fmt.Sprintf("ip_sends %d: codes sent for an address that asks for twice as many", ipSends), fmt.Sprint(sent), near(sent, ipSends)},
		{"attempts 5: of 30 wrong codes at once so many are compared", fmt.Sprint(tries), near(tries, 5)},
		{fmt.Sprintf("max_per_user %d: sessions that live after 24 sign-ins at once", perUser), fmt.Sprint(seats), near(seats, perUser)},
	}, nil
}

// atOnce runs something n times at the same time, on all nodes in turn, and
// counts how often it gave no error. Refusals with the code are no fault.
func (h *house) atOnce(n int, code string, do func(n *node, i int) error) (good int, err error) {
	failures := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { failures[i] = do(h.nodes[i%len(h.nodes)], i) })
	}
	wg.Wait()
	for _, failure := range failures {
		var r refusal
		switch {
		case failure == nil:
			good++
		case !errors.As(failure, &r) || r.code != code:
			err = errors.Join(err, failure)
		}
	}
	return good, err
}

func (h *house) sends(ctx context.Context) (int, error) {
	return h.atOnce(2*ipSends, "rate_limited", func(n *node, i int) error {
		_, err := n.challenge(ctx, fmt.Sprintf("+46701740%03d", 600+i), "192.0.2.7")
		return err
	})
}

// tries counts the codes that were compared: those that are said to be wrong, and
// the one with which the attempts are exhausted.
func (h *house) tries(ctx context.Context) (int, error) {
	id, err := h.nodes[0].challenge(ctx, phone(people-1))
	if err != nil {
		return 0, err
	}
	wrong, err := h.atOnce(30, "otp_attempts_exhausted", func(n *node, i int) error {
		_, err := n.verify(ctx, id, fmt.Sprintf("%06d", i), "phone")
		var r refusal
		if errors.As(err, &r) && r.code == "otp_invalid" {
			return nil
		}
		return err
	})
	return wrong + 1, err
}

// seats signs one person in on many devices, and counts the tokens that pass on
// all nodes.
func (h *house) seats(ctx context.Context) (live int, err error) {
	const devices = 24
	held := make([]tokens, devices)
	_, err = h.atOnce(devices, "", func(n *node, i int) (err error) {
		held[i], err = n.signIn(ctx, phone(people-2), fmt.Sprint("device ", i))
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, t := range held {
		passes := 0
		for _, n := range h.nodes {
			if status, _, err := n.browse(ctx, t); err != nil {
				return 0, err
			} else if status == http.StatusOK {
				passes++
			}
		}
		if passes != 0 && passes != len(h.nodes) {
			return 0, fmt.Errorf("a session lives on %d of %d nodes", passes, len(h.nodes))
		}
		live += passes / len(h.nodes)
	}
	return live, nil
}
