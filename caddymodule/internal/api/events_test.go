package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// listen opens an event stream inside a synctest bubble; hangUp ends it as a
// client would.
func listen(t *testing.T, f *fake, stopping <-chan struct{}) (w *httptest.ResponseRecorder, hangUp func()) {
	a := newAPI(f)
	a.Now, a.Stopping = time.Now, stopping
	ctx, cancel := context.WithCancel(t.Context())
	w = httptest.NewRecorder()
	r := httptest.NewRequestWithContext(ctx, "GET", "/api/v1/auth/events", http.NoBody)
	r.Header.Set("Authorization", "Bearer good")
	over := make(chan struct{})
	go func() {
		defer close(over)
		a.ServeHTTP(w, r, "/events")
	}()
	return w, func() {
		cancel()
		<-over
		if f.watched != 0 {
			t.Errorf("%d watchers left behind", f.watched)
		}
	}
}

func stays() *fake {
	return &fake{news: make(chan struct{}, 1), due: time.Now().Add(24 * time.Hour)}
}

func TestEventsBeginAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, hangUp := listen(t, stays(), nil)
		synctest.Wait()
		if got := w.Body.String(); got != "retry: 2000\n:\n\n" || !w.Flushed || w.Header().Get("Content-Type") != "text/event-stream" {
			t.Errorf("at first: %q %v", got, w.Header())
		}
		hangUp()
	})
}

func TestEventsKeepAPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, hangUp := listen(t, stays(), nil)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		hangUp()
		if got := strings.Count(w.Body.String(), ":\n\n"); got != 4 {
			t.Errorf("%d signs of life in 61 s, want 4", got)
		}
	})
}

func TestEventsTellOfAnEnd(t *testing.T) {
	ended := "event: session.ended\ndata: {\"session_id\":\"" + sid + "\",\"end_reason\":\"revoked\"}\n\n"
	for _, test := range []struct {
		name string
		end  func(f *fake)
	}{
		{"that somebody caused", func(f *fake) {
			f.end = auth.EndRevoked
			f.news <- struct{}{}
		}},
		{"that the clock brings, when it is due", func(f *fake) {
			time.Sleep(time.Until(f.due) + time.Millisecond)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := stays()
				f.due = time.Now().Add(50 * time.Second)
				w, hangUp := listen(t, f, nil)
				synctest.Wait()
				test.end(f)
				synctest.Wait()
				if got := w.Body.String(); !strings.HasSuffix(got, ended) {
					t.Errorf("got %q", got)
				}
				hangUp()
			})
		})
	}
	t.Run("that came before the stream", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := stays()
			f.end = auth.EndRevoked
			w, hangUp := listen(t, f, nil)
			synctest.Wait()
			if got := w.Body.String(); got != "retry: 2000\n"+ended {
				t.Errorf("got %q", got)
			}
			hangUp()
		})
	})
}

func TestEventsTellOfAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stays()
		w, hangUp := listen(t, f, nil)
		synctest.Wait()
		f.news <- struct{}{}
		synctest.Wait()
		hangUp()
		if got := w.Body.String(); !strings.HasSuffix(got, "event: session.changed\ndata: {\"session_id\":\""+sid+"\"}\n\n") {
			t.Errorf("got %q", got)
		}
	})
}

// A stream must not hold up a reload; the browser comes back to the new server.
func TestEventsLetGoOfAServerThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopping := make(chan struct{})
		f := stays()
		w, hangUp := listen(t, f, stopping)
		synctest.Wait()
		close(stopping)
		synctest.Wait()
		if f.watched != 0 || strings.Contains(w.Body.String(), "event:") {
			t.Errorf("still there, or told %q", w.Body)
		}
		hangUp()
	})
}

func TestEventsAreForTheSignedIn(t *testing.T) {
	check(t, call(newAPI(&fake{}), "GET", "/events", ""), 401, "token_missing")
	check(t, call(newAPI(&fake{authErr: auth.Refuse(auth.CodeSessionRevoked)}), "GET", "/events", "", asBearerGood), 401, "session_revoked")
	check(t, call(newAPI(&fake{err: auth.ErrUnavailable}), "GET", "/events", "", asBearerGood), 503, "store_unavailable")
	check(t, call(newAPI(&fake{}), "POST", "/events", "{}", asBearerGood), 405, "method_not_allowed")
}
