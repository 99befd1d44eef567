package sender_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func TestAttemptsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []string
		tried := func(a sender.Attempt) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%s %s %s %s after %v", a.Sender, a.Country, a.Channel, a.Outcome, a.Took))
		}
		refused := func(context.Context) error { return sender.ErrRefused }
		slow := func(context.Context) error { time.Sleep(time.Second); return nil }
		q := sender.NewQueue(sender.Options{
			Senders: []sender.Sender{&fake{name: "a", send: refused}, &fake{name: "b", send: hang}, &fake{name: "c", send: slow}},
			Log:     silent, Country: func(string) string { return "SE" }, Tried: tried,
		})
		if taken, err := deliver(q, message()); taken != nil || err != nil {
			t.Fatal(taken, err)
		}
		late := message()
		late.ExpiresAt = time.Now().Add(time.Second)
		if _, err := deliver(q, late); err == nil {
			t.Error("delivered after its end")
		}
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
		want := []string{
			"a SE sms refused after 0s", "b SE sms failed after 5s", "c SE sms delivered after 1s",
			"a SE sms refused after 0s", "b SE sms cut after 1s",
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %q", got)
		}
	})
}
