package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/badgerstore"
	"github.com/sidegate/sidegate/caddymodule/internal/doctor"
)

// examine looks at the installation that this server is.
func (rt *runtime) examine(r *http.Request) (any, error) {
	config, err := activeConfig(r)
	if err != nil {
		return nil, err
	}
	p := patient(config)
	p.Future, p.Ready = rt.service.As("").Future, rt.engine.health.Check
	return doctor.Examine(r.Context(), p)
}

// examineFile looks at a configuration that no server need have, and gives the
// report as JSON.
func examineFile(ctx context.Context, config []byte) ([]byte, error) {
	report, err := doctor.Examine(ctx, patient(config))
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(report)
	return append(text, '\n'), err
}

func patient(config []byte) doctor.Patient {
	return doctor.Patient{
		Config: config, StoreDir: filepath.Join(caddy.AppDataDir(), "sidegate"), Examine: examineStore,
		Resolve: func(text string) (string, error) { return caddy.NewReplacer().ReplaceOrErr(text, true, true) },
	}
}

// examineStore looks at the files of the embedded store.
func examineStore(dir string) (skipped string, wrong error) {
	err := badgerstore.Examine(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no store at " + dir + " yet", nil
	case errors.Is(err, badgerstore.ErrInUse):
		return "a server has it open; ask that one, without a FILE", nil
	}
	return "", err
}

// activeConfig is the configuration in use. Caddy shows it only at the admin
// endpoint, so its own route is asked, with the rights of the request at hand.
func activeConfig(r *http.Request) ([]byte, error) {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok {
		return nil, fmt.Errorf("asking for the configuration: %w", http.ErrServerClosed)
	}
	ask := r.Clone(r.Context())
	ask.URL.Path, ask.URL.RawPath, ask.URL.RawQuery, ask.RequestURI = "/config/", "", "", "/config/"
	answer := &recorder{header: http.Header{}, status: http.StatusOK}
	server.Handler.ServeHTTP(answer, ask)
	if answer.status != http.StatusOK {
		return nil, auth.Refuse(auth.CodeInvalidRequest).Because("The configuration may not be read at this endpoint.")
	}
	return answer.body.Bytes(), nil
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
