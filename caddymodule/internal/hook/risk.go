package hook

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Risk asks whether a code may go out to a number, which may just have moved to
// another SIM card.
type Risk struct{ *client }

// NewRisk checks the URL.
func NewRisk(o Options) (*Risk, error) {
	c, err := newClient("risk hook", o)
	if err != nil {
		return nil, err
	}
	return &Risk{c}, nil
}

// Name returns the kind and the host.
func (r *Risk) Name() string { return "webhook " + r.host }

// Limit is how long the hook may think.
func (r *Risk) Limit() time.Duration { return r.Timeout }

// Judge posts the inquiry. Only 200 with the action allow or deny is an answer;
// with any other the hook cannot tell.
func (r *Risk) Judge(ctx context.Context, i auth.Inquiry) (allow bool, err error) {
	status, answer, err := r.ask(ctx, i.ID, i)
	if err != nil {
		return false, err
	}
	if status != http.StatusOK {
		return false, r.unusable(status)
	}
	switch word, err := action(answer); word {
	case "allow":
		return true, nil
	case "deny":
		return false, nil
	default:
		return false, cmp.Or(err, errNoAction)
	}
}
