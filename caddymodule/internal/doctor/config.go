package doctor

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// config is what is looked at of a configuration of Caddy.
type config struct {
	Admin struct {
		Disabled bool   `json:"disabled"`
		Listen   string `json:"listen"`
	} `json:"admin"`
	Apps struct {
		HTTP struct {
			Servers map[string]*server `json:"servers"`
		} `json:"http"`
		Sidegate map[string]any `json:"sidegate"`
	} `json:"apps"`
}

type server struct {
	Routes          []any    `json:"routes"`
	TrustedProxies  any      `json:"trusted_proxies"`
	Strict          int      `json:"trusted_proxies_strict"`
	ClientIPHeaders []string `json:"client_ip_headers"`

	gated bool // there is a gate on one of its routes
	apps  []upstream
}

// upstream is where a reverse_proxy behind a gate sends requests.
type upstream struct {
	dial string
	tls  bool
}

func parse(text []byte) (*config, error) {
	c := new(config)
	if err := json.Unmarshal(text, c); err != nil {
		return nil, err
	}
	for _, s := range c.Apps.HTTP.Servers {
		s.walk(s.Routes, false)
	}
	return c, nil
}

// servers are those with a gate, in the order of their names.
func (c *config) servers() (gated []*server) {
	for _, name := range slices.Sorted(maps.Keys(c.Apps.HTTP.Servers)) {
		if s := c.Apps.HTTP.Servers[name]; s.gated {
			gated = append(gated, s)
		}
	}
	return gated
}

// upstreams are those of all gates, each once.
func (c *config) upstreams() (all []upstream) {
	for _, s := range c.servers() {
		for _, u := range s.apps {
			if !slices.Contains(all, u) {
				all = append(all, u)
			}
		}
	}
	return all
}

// walk looks for gates, and for what comes behind them: later handlers of a
// route, and later routes of a list.
func (s *server) walk(routes []any, gated bool) {
	for _, r := range routes {
		route, _ := r.(map[string]any)
		handlers, _ := route["handle"].([]any)
		for _, h := range handlers {
			handler, _ := h.(map[string]any)
			switch handler["handler"] {
			case "sidegate":
				gated, s.gated = true, true
			case "reverse_proxy":
				if gated {
					s.addUpstreams(handler)
				}
			}
			if inner, ok := handler["routes"].([]any); ok {
				s.walk(inner, gated)
			}
		}
	}
}

func (s *server) addUpstreams(proxy map[string]any) {
	transport, _ := proxy["transport"].(map[string]any)
	_, tls := transport["tls"]
	list, _ := proxy["upstreams"].([]any)
	for _, u := range list {
		of, _ := u.(map[string]any)
		if dial, ok := of["dial"].(string); ok {
			s.apps = append(s.apps, upstream{dial, tls})
		}
	}
}

// text is one of the texts of a configuration.
type text struct {
	path  string // such as senders/0/secret
	key   string // the last part of it that is a name
	value string
}

// texts gives all texts below a value, in the order of their paths.
func texts(v any) (all []text) {
	var walk func(path, key string, v any)
	walk = func(path, key string, v any) {
		switch v := v.(type) {
		case string:
			all = append(all, text{strings.TrimPrefix(path, "/"), key, v})
		case []any:
			for i, item := range v {
				walk(path+"/"+strconv.Itoa(i), key, item)
			}
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(path+"/"+name, name, v[name])
			}
		}
	}
	walk("", "", v)
	return all
}
