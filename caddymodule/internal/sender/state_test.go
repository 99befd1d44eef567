package sender_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/sender"
)

func TestHealthIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sender.NewQueue(sender.Options{Senders: []sender.Sender{&fake{name: "first", send: broken}, &fake{name: "second"}}, Log: silent})
		defer q.Close(t.Context())
		for n := range 3 {
			if got := q.Health()[0]; got.Failures != n || got.Down || !got.RetryAt.IsZero() {
				t.Errorf("after %d failures: %+v", n, got)
			}
			if err, _ := deliver(q, auth.Message{Channel: "sms"}); err != nil {
				t.Fatal(err)
			}
		}
		got := q.Health()
		if got[0].Name != "first" || !got[0].Down || !got[0].RetryAt.Equal(time.Now().Add(30*time.Second)) {
			t.Errorf("after three failures: %+v", got[0])
		}
		if got[1] != (sender.Health{Name: "second"}) {
			t.Errorf("the one that works: %+v", got[1])
		}
	})
}
