package caddymodule_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/sidegate/sidegate/caddymodule"
	"github.com/sidegate/sidegate/caddymodule/auth"
)

// spanBox is where Caddy sends its traces to.
type spanBox struct {
	mu    sync.Mutex
	spans []*trace.Span
}

func (b *spanBox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			b.spans = append(b.spans, scope.GetSpans()...)
		}
	}
}

// trees gives the spans of each request that came in, by its method and path.
func (b *spanBox) trees(t *testing.T) map[string][]*trace.Span {
	b.mu.Lock()
	defer b.mu.Unlock()
	roots, trees := map[string]string{}, map[string][]*trace.Span{}
	for _, s := range b.spans {
		if len(s.GetParentSpanId()) == 0 {
			roots[string(s.GetTraceId())] = s.GetName()
		}
	}
	for _, s := range b.spans {
		root, ok := roots[string(s.GetTraceId())]
		if !ok {
			t.Errorf("%s is in no request's trace", s.GetName())
		}
		trees[root] = append(trees[root], s)
	}
	return trees
}

func count(spans []*trace.Span, name string) (n int) {
	for _, s := range spans {
		if s.GetName() == name {
			n++
		}
	}
	return n
}

// What a request waits for is in its trace: the store, the directory, and the
// sending of a message, which goes on after the answer. Nobody's number, session
// or name is.
func TestTraces(t *testing.T) {
	box := new(spanBox)
	server := httptest.NewServer(box)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	s := newSite(t)
	s.load(s.config("", "", "tracing {\n\t\tspan \"{http.request.method} {http.request.uri.path}\"\n\t}"))
	stop := sync.OnceFunc(func() { _ = caddy.Stop() })
	t.Cleanup(stop)
	own := s.signIn(phoneA)
	wants(t, "app", s.do("GET", "/app", nil, "Authorization", bearer(own)), 200, "")
	wants(t, "logout", s.do("POST", apiPath+"/logout", "{}", "Authorization", bearer(own)), 204, "")
	stop() // which flushes
	trees := box.trees(t)
	for _, row := range []struct {
		request string
		least   map[string]int
	}{
		{"POST " + apiPath + "/otp", map[string]int{"sidegate.store.get": 1, "sidegate.store.swap": 1, "sidegate.send": 1}},
		{"POST " + apiPath + "/otp/verify", map[string]int{"sidegate.store.swap": 3, "sidegate.directory": 1}},
		{"POST " + apiPath + "/logout", map[string]int{"sidegate.store.swap": 1}},
		{"GET /app", nil}, // in memory
	} {
		spans := trees[row.request]
		for name, least := range row.least {
			if n := count(spans, name); n < least {
				t.Errorf("%s: %d spans %s", row.request, n, name)
			}
		}
		if len(spans) == 0 || row.least == nil && len(spans) != 1 {
			t.Errorf("%s: %d spans", row.request, len(spans))
		}
	}
	plain := regexp.MustCompile(`^[a-z_]+$`)
	for _, spans := range trees {
		for _, span := range spans {
			if !strings.HasPrefix(span.GetName(), "sidegate.") {
				continue
			}
			for _, a := range span.GetAttributes() {
				if value := a.GetValue().GetStringValue(); !strings.HasPrefix(a.GetKey(), "sidegate.") || !plain.MatchString(value) {
					t.Errorf("%s tells %s = %q", span.GetName(), a.GetKey(), value)
				}
			}
		}
	}
}

// A span says that something failed, and never with the words of an error,
// which may name a person.
func TestSpansTellNoErrors(t *testing.T) {
	for _, row := range []struct {
		err     error
		code    codes.Code
		outcome string
	}{
		{nil, codes.Unset, ""},
		{fmt.Errorf("of +46701234567: %w", auth.ErrConflict), codes.Unset, "conflict"},
		{auth.Refuse(auth.CodeAccountDisabled).Because("+46701234567"), codes.Unset, "account_disabled"},
		{fmt.Errorf("of +46701234567: %w", context.DeadlineExceeded), codes.Error, ""},
		{errors.New("of +46701234567"), codes.Error, ""},
	} {
		recorder := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
		ctx, above := provider.Tracer("test").Start(t.Context(), "request")
		_, end := caddymodule.Span(ctx, "directory", "step", "directory")
		end(row.err)
		above.End()
		got := recorder.Ended()[0]
		if got.Status().Code != row.code || strings.Contains(fmt.Sprint(got.Status(), got.Attributes(), got.Events()), "4670") {
			t.Errorf("%v: %v %v %v", row.err, got.Status(), got.Attributes(), got.Events())
		}
		if outcome := ""; row.outcome != "" {
			for _, a := range got.Attributes() {
				if a.Key == "sidegate.outcome" {
					outcome = a.Value.AsString()
				}
			}
			if outcome != row.outcome {
				t.Errorf("%v: outcome %q", row.err, outcome)
			}
		}
	}
}

func TestUntracedCostsNoMemory(t *testing.T) {
	ctx := t.Context()
	n := testing.AllocsPerRun(100, func() {
		_, end := caddymodule.Span(ctx, "store.get", "record", "session")
		end(nil)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkUntraced is what a call of the store pays where nobody traces. Its
// context is as deep as that of a request.
func BenchmarkUntraced(b *testing.B) {
	type key int
	ctx := b.Context()
	for i := range 12 {
		ctx = context.WithValue(ctx, key(i), i)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, end := caddymodule.Span(ctx, "store.get", "record", "session")
		end(nil)
	}
}
