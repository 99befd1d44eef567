package hook

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Dormant asks whether the number of a dormant account is still its owner's. It
// implements auth.DormantHook.
type Dormant struct{ *client }

// NewDormant checks the URL.
func NewDormant(o Options) (*Dormant, error) {
	c, err := newClient("dormant hook", o)
	if err != nil {
		return nil, err
	}
	return &Dormant{c}, nil
}

// SameOwner implements auth.DormantHook. 200 with the action open or new is an
// answer, 403 refuses both, and with any other the hook cannot tell.
func (h *Dormant) SameOwner(ctx context.Context, d auth.Dormant) (bool, error) {
	d.LastUsedAt = d.LastUsedAt.UTC().Truncate(time.Second)
	status, answer, err := h.ask(ctx, d.ChallengeID, d)
	switch {
	case err != nil:
		return false, err
	case status == http.StatusForbidden:
		return false, auth.Refuse(auth.CodeAccountDisabled)
	case status != http.StatusOK:
		return false, h.unusable(status)
	}
	switch word, err := action(answer); word {
	case "open":
		return true, nil
	case "new":
		return false, nil
	default:
		return false, cmp.Or(err, errNoAction)
	}
}
