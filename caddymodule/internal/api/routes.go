package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// handler answers one method of one route; id is the path's variable part. It
// writes the answer, or returns the error and writes nothing.
type handler func(a *API, w http.ResponseWriter, r *http.Request, id string) error

// endpoint is one path.
type endpoint struct {
	methods map[string]handler
	// exchange marks routes whose failures are not about an access token: they
	// are 400, so that no client refreshes and retries for ever.
	exchange bool
}

// allow is the Allow header: HEAD comes with GET.
func (e endpoint) allow() string {
	methods := slices.Sorted(maps.Keys(e.methods))
	if i := slices.Index(methods, http.MethodGet); i >= 0 {
		methods = slices.Insert(methods, i+1, http.MethodHead)
	}
	return strings.Join(methods, ", ")
}

func get(h handler) endpoint  { return endpoint{methods: map[string]handler{http.MethodGet: h}} }
func post(h handler) endpoint { return endpoint{methods: map[string]handler{http.MethodPost: h}} }

func (e endpoint) exchanging() endpoint {
	e.exchange = true
	return e
}

// endpoints are the paths; "*" stands for one segment. A literal path wins.
var endpoints = map[string]endpoint{
	"/otp":                post((*API).sendCode).exchanging(),
	"/otp/verify":         post((*API).verifyCode).exchanging(),
	"/otp/*":              get((*API).codeStatus).exchanging(),
	"/status/*":           post((*API).report).exchanging(),
	"/refresh":            post((*API).refresh).exchanging(),
	"/logout":             post((*API).logout).exchanging(),
	"/session":            get((*API).session),
	"/session/*":          get((*API).session),
	"/session/*/activity": post((*API).activity),
	"/sessions": {methods: map[string]handler{
		http.MethodGet:    (*API).sessions,
		http.MethodDelete: (*API).revokeOthers,
	}},
	"/sessions/*": {methods: map[string]handler{http.MethodDelete: (*API).revoke}},
	"/device":     {methods: map[string]handler{http.MethodPut: (*API).device}},
	"/user":       get((*API).user),

	"/user/phone":        post((*API).startPhoneChange),
	"/user/phone/verify": post((*API).changePhone),

	"/events":    get((*API).events),
	"/verify":    get((*API).verify),
	"/jwks.json": get((*API).jwks),
	"/health":    get((*API).health),
}

// find looks a path up, exactly as written: no case folding, no cleaning.
func find(route string) (e endpoint, id string, err error) {
	if strings.Contains(route, "*") {
		return e, "", auth.Refuse(auth.CodeNotFound)
	}
	if e, ok := endpoints[route]; ok {
		return e, "", nil
	}
	parts := strings.Split(route, "/") // "", "session", id, …
	if len(parts) < 3 || parts[2] == "" {
		return e, "", auth.Refuse(auth.CodeNotFound)
	}
	id, parts[2] = parts[2], "*"
	e, ok := endpoints[strings.Join(parts, "/")]
	if !ok {
		return e, "", auth.Refuse(auth.CodeNotFound)
	}
	return e, id, nil
}
