package command

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// Examiner looks at a configuration in JSON, and gives the report that the
// route doctor gives.
type Examiner func(ctx context.Context, config []byte) ([]byte, error)

// report is what doctor has looked at.
type report struct {
	Healthy bool
	Checks  []struct {
		Check, State, Why string
		Findings          []struct{ Finding, Remedy string }
	}
}

// errFindings makes the exit code that of a refusal.
var errFindings = errors.New("something is wrong; see above")

func doctorCommand(examine Examiner) *cobra.Command {
	return leaf{
		"doctor [FILE]", "Looks for what is dangerous about the installation, and says what to do",
		`  caddy sidegate doctor
  caddy sidegate doctor /etc/caddy/Caddyfile   # without asking a server`,
		cobra.MaximumNArgs(1),
		func(cmd *cobra.Command, args []string) error {
			answer, err := diagnose(cmd, args, examine)
			if err != nil {
				return err
			}
			var r report
			if err := show(cmd, answer, &r, func() printer { return &r }); err != nil {
				return err
			}
			if !r.Healthy {
				return errFindings
			}
			return nil
		}, nil,
	}.command()
}

func diagnose(cmd *cobra.Command, args []string, examine Examiner) ([]byte, error) {
	if len(args) == 0 {
		return ask(cmd, http.MethodGet, "doctor", nil)
	}
	config, _, _, err := caddycmd.LoadConfig(args[0], flag(cmd, "adapter"))
	if err != nil {
		return nil, usageError{err}
	}
	return examine(cmd.Context(), config)
}

// print shows each check, and under it what is wrong.
func (r *report) print(cmd *cobra.Command) error {
	var b strings.Builder
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "%-8s %s", c.State, c.Check)
		if c.Why != "" {
			fmt.Fprintf(&b, " (%s)", plain(c.Why))
		}
		b.WriteByte('\n')
		for _, f := range c.Findings {
			fmt.Fprintf(&b, "         %s\n         → %s\n", plain(f.Finding), plain(f.Remedy))
		}
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), b.String())
	return err
}
