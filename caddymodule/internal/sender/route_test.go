package sender_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

// scoped is a fake for some countries and channels.
type scoped struct {
	fake
	countries, channels []string
}

func (s *scoped) TakesCountry(country string) bool {
	return s.countries == nil || slices.Contains(s.countries, country)
}

func (s *scoped) TakesChannel(channel string) bool { return slices.Contains(s.channels, channel) }

// recording notes who is tried. The queue has one message at a time here.
func recording(order *[]string, name string, send func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		*order = append(*order, name)
		if send == nil {
			return nil
		}
		return send(ctx)
	}
}

const american, canadian = "+12025550123", "+16135550123"

func countryOf(e164 string) string {
	return map[string]string{number: "SE", american: "US", canadian: "CA"}[e164]
}

// The senders: America by sms and voice, Sweden by sms, then everywhere by sms.
func TestQueueRoutesByCountryAndChannel(t *testing.T) {
	america := &scoped{fake{name: "america"}, []string{"US", "CA"}, []string{"sms", "voice"}}
	sweden := &scoped{fake{name: "sweden", send: broken}, []string{"SE"}, []string{"sms"}}
	world := &fake{name: "world"}
	q := sender.NewQueue(sender.Options{Senders: []sender.Sender{america, sweden, world}, Country: countryOf, Log: silent})
	defer q.Close(t.Context())
	var order []string
	for _, f := range []*fake{&america.fake, &sweden.fake, world} {
		send := f.send
		f.send = recording(&order, f.name, send)
	}
	for _, row := range []struct {
		name, to, channel string
		want              string // who was tried; empty: nobody can be
	}{
		{"its own sender comes first", american, "sms", "america"},
		{"a country of several", canadian, "sms", "america"},
		{"a failure is followed by the next of the country", number, "sms", "sweden world"},
		{"a number of no country goes to whoever takes all", "+88213000000", "sms", "world"},
		{"a call goes to who can call", american, "voice", "america"},
		{"nobody calls there", number, "voice", ""},
		{"nobody has the channel", american, "whatsapp", ""},
	} {
		order = nil
		m := message()
		m.To, m.Channel = row.to, row.channel
		taken, err := deliver(q, m)
		if got := strings.Join(order, " "); got != row.want || err != nil || errors.Is(taken, sender.ErrNoRoute) != (row.want == "") {
			t.Errorf("%s: %q, %v, %v; want %q", row.name, got, taken, err, row.want)
		}
		if q.Reaches(row.to, row.channel) != (row.want != "") {
			t.Errorf("%s: Reaches says the opposite", row.name)
		}
	}
}

// A sender that is down shuts out the countries that have no other, and no more.
func TestQueueIsDownPerRoute(t *testing.T) {
	america := &scoped{fake{name: "america", send: broken}, []string{"US"}, []string{"sms"}}
	sweden := &scoped{fake{name: "sweden"}, []string{"SE"}, []string{"sms"}}
	q := sender.NewQueue(sender.Options{Senders: []sender.Sender{america, sweden}, Country: countryOf, Log: silent})
	defer q.Close(t.Context())
	m := message()
	m.To = american
	for range 3 {
		if taken, err := deliver(q, m); taken != nil || err == nil {
			t.Fatalf("got %v, %v; want a failure", taken, err)
		}
	}
	if taken, _ := deliver(q, m); !errors.Is(taken, sender.ErrDown) {
		t.Errorf("got %v, want down", taken)
	}
	if taken, err := deliver(q, message()); taken != nil || err != nil {
		t.Errorf("another country: %v, %v", taken, err)
	}
}
