package caddymodule

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const tracerName = "github.com/sidegate/sidegate"

// span begins a span below the one of the context, which Caddy's tracing handler
// has put there, and gives what ends it. key and value are an attribute of it.
// Where nobody traces this is a look into the context and nothing else.
func span(ctx context.Context, name, key, value string) (context.Context, func(error)) {
	above := trace.SpanFromContext(ctx)
	if !above.IsRecording() {
		return ctx, untraced
	}
	tracer := above.TracerProvider().Tracer(tracerName)
	ctx, s := tracer.Start(ctx, "sidegate."+name, trace.WithAttributes(attribute.String("sidegate."+key, value)))
	return ctx, func(err error) { finish(s, err) }
}

func untraced(error) {}

// finish says how it went in words of ours: the text of an error may name what
// is nobody's business.
func finish(s trace.Span, err error) {
	var refusal *auth.Error
	switch {
	case err == nil:
	case errors.Is(err, auth.ErrConflict):
		s.SetAttributes(attribute.String("sidegate.outcome", "conflict")) // decided anew
	case errors.As(err, &refusal):
		s.SetAttributes(attribute.String("sidegate.outcome", string(refusal.Code)))
	case errors.Is(err, context.DeadlineExceeded):
		s.SetStatus(codes.Error, "no answer in time")
	default:
		s.SetStatus(codes.Error, "failed")
	}
	s.End()
}

// traceStep is auth.Service.Step.
func traceStep(ctx context.Context, name string) (context.Context, func(error)) {
	return span(ctx, name, "step", name)
}
