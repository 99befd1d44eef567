package admin

import (
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// blocks answers GET /blocks.
func (a *Admin) blocks(c *call) (any, error) {
	all, err := c.operator.Blocks(c.Context())
	if err != nil {
		return nil, err
	}
	return struct {
		Blocks []auth.Block `json:"blocks"`
	}{list(all)}, nil
}

// readBlock reads what is to be blocked, or no longer.
func (a *Admin) readBlock(c *call) (b auth.Block, err error) {
	var in struct {
		Country string `json:"country"`
		Prefix  string `json:"prefix"`
		Reason  string `json:"reason"`
	}
	if err := c.read(&in); err != nil {
		return b, err
	}
	if err := checkReason(in.Reason); err != nil {
		return b, err
	}
	in.Country = strings.ToUpper(in.Country)
	if in.Country != "" && !a.KnownCountry(in.Country) {
		return b, invalid("No country has this code; use ISO 3166, such as NG.")
	}
	if _, err := a.ParsePhone(in.Prefix); err == nil {
		// What is blocked stands in the audit, where no number may.
		return b, invalid("This is a whole number; a prefix is shorter.")
	}
	return auth.Block{Country: in.Country, Prefix: in.Prefix, Reason: in.Reason}, nil
}

// block answers POST /blocks.
func (a *Admin) block(c *call) (any, error) {
	b, err := a.readBlock(c)
	if err != nil {
		return nil, err
	}
	return nil, c.operator.Block(c.Context(), b)
}

// unblock answers POST /blocks/remove.
func (a *Admin) unblock(c *call) (any, error) {
	b, err := a.readBlock(c)
	if err != nil {
		return nil, err
	}
	if b.Reason != "" {
		return nil, invalid("Only a block that is added has a reason.")
	}
	return nil, c.operator.Unblock(c.Context(), b)
}
