package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/simulate"
)

// Attack: 10 000 requests in an hour for numbers that earn, from 2 000
// addresses; the people among them must not notice.
func TestPumping(t *testing.T) {
	limits, err := caddymodule.Limits{}.Rules()
	if err != nil {
		t.Fatal(err)
	}
	for _, countries := range []int{50} { // the hardest; the command prints others too
		p, err := simulate.Pumping(limits, countries)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d countries: %+v", countries, p)
		if p.Requests != 10_000 || p.Sent == 0 || p.Sent*100 > p.Requests*3 {
			t.Errorf("%d countries: %d of %d messages sent, want at most 3 %%", countries, p.Sent, p.Requests)
		}
		if p.Honest != 500 || p.Refused != 0 {
			t.Errorf("%d countries: %d of %d people refused, want none", countries, p.Refused, p.Honest)
		}
	}
}

// Attack: guesses at one number, with as many challenges and addresses as one
// likes. Its owner gets in all the while.
func TestGuessing(t *testing.T) {
	limits, err := caddymodule.Limits{}.Rules()
	if err != nil {
		t.Fatal(err)
	}
	g, err := simulate.Guessing(limits, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", g)
	if g.Compared == 0 || g.Chance > 2e-5 {
		t.Errorf("%d guesses compared, a chance of %v a day, want at most 2e-5", g.Compared, g.Chance)
	}
	if g.Owner != 18 || g.LockedOut != 0 {
		t.Errorf("the owner was locked out %d of %d times, want never", g.LockedOut, g.Owner)
	}
	limits.PhoneFailures = nil // the measure measures
	if g, err = simulate.Guessing(limits, 1); err != nil || g.Chance <= 2e-5 {
		t.Errorf("without the limit: %+v, %v", g, err)
	}
}

func TestReplay(t *testing.T) {
	var lines strings.Builder
	at := time.Date(2027, 1, 11, 12, 0, 0, 0, time.UTC)
	request := func(ip, phone string, verify bool) {
		at = at.Add(time.Second)
		fmt.Fprintf(&lines, `{"time":%q,"ip":%q,"phone":%q,"verify":%v}`+"\n", at.Format(time.RFC3339), ip, phone, verify)
	}
	for i := range 200 {
		request(fmt.Sprintf("198.18.0.%d", i), fmt.Sprintf("+3712%d%06d", i%10, i), false)
	}
	request("203.0.113.1", "+46701740605", true)
	request("203.0.113.1", "+442079460958", false)
	request("203.0.113.1", "nonsense", false)
	for range 6 {
		request("203.0.113.2", "+46701740606", false)
	}
	traffic := filepath.Join(t.TempDir(), "traffic")
	if err := os.WriteFile(traffic, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(&out, "", traffic); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"209 requests, 56 messages", "150 stopped by country_unverified, 0 of", "1 stopped by phone_sends", "1 stopped by not a number", "1 stopped by a kind of number",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &out)
		}
	}
	limits := filepath.Join(t.TempDir(), "limits")
	if err := os.WriteFile(limits, []byte(`{"phone_sends":["1/1h"],"country_unverified":["off"],"prefix_sends":["off"],"global_unverified":["off"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := run(&out, limits, traffic); err != nil || !strings.Contains(out.String(), "5 stopped by phone_sends") {
		t.Errorf("with limits of one's own: %v\n%s", err, &out)
	}
	for _, bad := range []string{"{", `{"ip":"192.0.2.1"}`} {
		if err := os.WriteFile(traffic, []byte("\n"+bad+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run(&out, "", traffic); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}
