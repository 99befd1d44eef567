package caddymodule

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/notify"
)

// What handlers see of an event has the names of what webhooks get.
func TestEventDataIsThatOfNotices(t *testing.T) {
	e := auth.Event{
		Name: auth.EventSessionEnded, At: time.Date(2027, 1, 2, 3, 4, 5, 6e6, time.UTC), Cause: "idle", UserID: 7,
		SessionID: auth.SessionID{1}, DeviceID: "d", Subject: "s", Country: "SE", Channel: "sms", ClientIP: "192.0.2.1",
	}
	want, err := json.Marshal(notify.Notice{
		At: e.At, Cause: e.Cause, UserID: e.UserID, SessionID: e.SessionID, DeviceID: e.DeviceID,
		Subject: e.Subject, Country: e.Country, Channel: e.Channel, ClientIP: e.ClientIP,
	})
	if err != nil {
		t.Fatal(err)
	}
	data := eventData(e)
	data["id"], data["name"] = "", "" // Caddy has its own
	got, err := json.Marshal(data)
	if err != nil || !sameJSON(t, got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if few := eventData(auth.Event{Name: auth.EventBudgetUsed, Cause: "80"}); len(few) != 2 {
		t.Errorf("what is not known is there: %v", few)
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	var texts [2]string
	for i, text := range [][]byte{a, b} {
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		sorted, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(sorted)
	}
	return texts[0] == texts[1]
}
