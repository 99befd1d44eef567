package api

import (
	"net/http"
	"net/url"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Dispatch is the request by which a provider reports.
type Dispatch struct {
	Query  string // as it was sent, which is how it was signed
	Header http.Header
	Form   url.Values
}

// report answers POST /status/{sender}. Who is not the provider is told what
// any unknown route tells.
func (a *API) report(w http.ResponseWriter, r *http.Request, sender string) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || a.ReadReport == nil {
		return auth.Refuse(auth.CodeNotFound)
	}
	report, ok := a.ReadReport(sender, Dispatch{r.URL.RawQuery, r.Header, form})
	if !ok {
		return auth.Refuse(auth.CodeNotFound)
	}
	if err := a.Service.Report(r.Context(), report); err != nil {
		return err // 5xx: the provider says it again
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
