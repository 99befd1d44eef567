package gate

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// browserLines are what a browser sends beside its credential.
var browserLines = []string{
	"Accept: text/html,application/xhtml+xml", "Accept-Encoding: gzip, br", "Accept-Language: en", "User-Agent: Mozilla/5.0",
	"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Connection: keep-alive", "Referer: https://app.example.com/",
	"X-Forwarded-For: 192.0.2.1", "X-Requested-With: fetch", "Priority: u=1",
}

// BenchmarkGate measures one proxied request with a warm token: all stages, and
// the answer. The fake domain behind it costs next to nothing.
func BenchmarkGate(b *testing.B) {
	for name, line := range map[string][2]string{
		"bearer": {"Authorization", "Bearer ours-good"},
		"cookie": {"Cookie", "__Host-sidegate=good"},
	} {
		b.Run(name, func(b *testing.B) {
			g := newGate(b, &fake{}, nil)
			r := request(b, "GET", "/app/items?page=2", browserLines...)
			credential := []string{line[1]}
			w := httptest.NewRecorder()
			body := []byte("x")
			upstream := func(w http.ResponseWriter, r *http.Request) {
				for _, name := range g.headers {
					delete(r.Header, name)
				}
				_, _ = w.Write(body)
			}
			b.ReportAllocs()
			for b.Loop() {
				w.Body.Reset()
				credential[0] = line[1]
				r.Header[line[0]] = credential
				serve(g, w, r, upstream)
			}
			if w.Code != 200 || w.Body.String() != "x" {
				b.Fatal(w.Code)
			}
		})
	}
}

// TestGateAllocates holds the budget of a proxied request.
func TestGateAllocates(t *testing.T) {
	g := newGate(t, &fake{}, nil)
	r := request(t, "GET", "/app/items?page=2", browserLines...)
	bearer := []string{"Bearer ours-good"}
	w := httptest.NewRecorder()
	n := testing.AllocsPerRun(200, func() {
		r.Header["Authorization"] = bearer
		serve(g, w, r, func(_ http.ResponseWriter, r *http.Request) {
			for _, name := range g.headers {
				delete(r.Header, name)
			}
		})
	})
	if n > 3 {
		t.Errorf("got %v allocations, want at most 3", n)
	}
}
