package doctor

import (
	"context"
	"fmt"
)

// store asks whether the records can be used.
func store(ctx context.Context, p *Patient, c *config) (found []Finding, skipped string) {
	var wrong error
	if p.Ready != nil {
		wrong = p.Ready(ctx)
	} else {
		dir, why := p.storeDir(c)
		if why != "" {
			return nil, why
		}
		skipped, wrong = p.Examine(dir)
	}
	if wrong == nil {
		return nil, skipped
	}
	return []Finding{{
		fmt.Sprintf("The store cannot be used: %v.", wrong),
		"Do as it says; docs/operations.md has each of these messages. If data is damaged or lost: stop Caddy, check the disk, and restore a backup.",
	}}, ""
}
