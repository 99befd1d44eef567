package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// checkSets refuses sets of matchers that match every request, or none, for want
// of a matcher: a rule for @m would hold for nobody, or all of a site be public.
func checkSets(sets caddyhttp.RawMatcherSets) error {
	for _, set := range sets {
		if len(set) == 0 {
			return errors.New("an empty matcher set matches every request; name a matcher")
		}
		if err := checkMatchers(set); err != nil {
			return err
		}
	}
	return nil
}

func checkMatchers(set caddy.ModuleMap) error {
	for name, raw := range set {
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) == nil && len(list) == 0 {
			return fmt.Errorf("the matcher %s is empty; write what it matches", name)
		}
		if name != "not" {
			continue
		}
		var inner caddyhttp.RawMatcherSets
		if err := json.Unmarshal(raw, &inner); err != nil {
			return fmt.Errorf("the matcher not: %w", err)
		}
		for _, one := range inner {
			if len(one) == 0 {
				return errors.New("the matcher not is empty; write what it matches")
			}
			if err := checkMatchers(one); err != nil {
				return err
			}
		}
	}
	return nil
}
