package caddymodule

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/sidegate/sidegate/caddymodule/internal/gate"
)

// parseSite reads the directive:
//
//	sidegate {
//		api           PATH
//		pages         PATH|off {
//			logo      URL|PATH
//			accent    COLOUR
//			templates FOLDER
//		}
//		public        PATH|@MATCHER…
//		require       PATH|@MATCHER… [role ROLE…] [fresh DURATION]
//		header_prefix PREFIX
//	}
func parseSite(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next()
	if h.NextArg() {
		return nil, h.Errf("sidegate takes no matcher (%s): it must see every request; name what needs no session with public in its block", h.Val())
	}
	var handler Handler
	err := block(h.Dispenser, words{
		"api":           textWord(&handler.API),
		"pages":         handler.readPages,
		"header_prefix": textWord(&handler.HeaderPrefix),
		"public*":       func(*caddyfile.Dispenser) error { return handler.readPublic(h) },
		"require*":      func(*caddyfile.Dispenser) error { return handler.readRequire(h) },
	})
	if err != nil {
		return nil, err
	}
	return h.NewRoute(nil, &handler), nil
}

// readTargets reads paths and named matchers up to one of the stop words.
func readTargets(h httpcaddyfile.Helper, stops ...string) (paths []string, sets caddyhttp.RawMatcherSets, stop string, err error) {
	for {
		set, isMatcher, err := h.MatcherToken()
		if err != nil {
			return nil, nil, "", err
		}
		text := h.Val()
		switch {
		case isMatcher && strings.HasPrefix(text, "@"):
			if err := checkSets(caddyhttp.RawMatcherSets{set}); err != nil {
				return nil, nil, "", h.Errf("%s: %v", text, err)
			}
			sets = append(sets, set)
		case isMatcher && strings.HasPrefix(text, "/"):
			if err := gate.CheckPattern(text); err != nil {
				return nil, nil, "", h.WrapErr(err)
			}
			paths = append(paths, text)
		case slices.Contains(stops, text) && len(paths)+len(sets) > 0:
			return paths, sets, text, nil
		default:
			return nil, nil, "", h.Errf("%q is neither a path, such as /assets/*, nor a named matcher", text)
		}
		if !h.NextArg() {
			return paths, sets, "", nil
		}
		h.Prev()
	}
}

func (handler *Handler) readPublic(h httpcaddyfile.Helper) error {
	paths, sets, _, err := readTargets(h)
	if err != nil {
		return err
	}
	if handler.Public == nil {
		handler.Public = new(Public)
	}
	handler.Public.Paths = append(handler.Public.Paths, paths...)
	handler.Public.MatchersRaw = append(handler.Public.MatchersRaw, sets...)
	return nil
}

func (handler *Handler) readRequire(h httpcaddyfile.Helper) error {
	paths, sets, stop, err := readTargets(h, "role", "fresh")
	if err != nil {
		return err
	}
	rule := Require{Paths: paths, MatchersRaw: sets}
	args := h.RemainingArgs()
	if stop == "role" {
		end := slices.Index(args, "fresh")
		if end < 0 {
			end = len(args)
		}
		if rule.Roles = args[:end]; end == 0 {
			return h.Err("role needs at least one role")
		}
		args = args[end:]
		if len(args) > 0 {
			stop, args = args[0], args[1:]
		}
	}
	if stop == "fresh" {
		if len(args) != 1 {
			return h.Err("fresh takes one duration, at the end of the line, such as: fresh 5m")
		}
		fresh, err := caddy.ParseDuration(args[0])
		if err != nil || fresh <= 0 {
			return h.Errf("fresh: %q is no duration; write it as 5m", args[0])
		}
		rule.Fresh = caddy.Duration(fresh)
	}
	if err := rule.validate(len(sets)); err != nil {
		return h.WrapErr(err)
	}
	handler.Require = append(handler.Require, rule)
	return nil
}
