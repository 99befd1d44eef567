package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Abandonment is an order to use a store again that is marked.
type Abandonment struct {
	Config []byte // that names the store, as JSON
	Copy   bool   // also one that may be the half of a copy
}

func migrateCommands(o Offline) *cobra.Command {
	cmd := leaf{
		"migrate --to FILE", "Takes the records to the store of another configuration, while the server runs", `  caddy sidegate migrate --to Caddyfile.new     # copies, checks, and keeps both stores in step
  caddy reload --config Caddyfile.new           # then the new store takes over
  caddy sidegate migrate status`, cobra.NoArgs, migrate,
		func(flags *pflag.FlagSet) {
			flags.String("to", "", "Configuration that the server is to have next: its store and its master key are looked at")
			flags.Bool("overwrite", false, "Delete what the new store holds")
			flags.Bool("skip-codes", false, "Do not wait until codes that were sent before are over: who brings one back needs another")
			flags.Bool("detach", false, "Do not wait for the copy; ask with migrate status")
		},
	}.command()
	cmd.AddCommand(
		leaf{"status", "Shows how the move does", "  caddy sidegate migrate status", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
			return showMove(cmd, http.MethodGet, "migrate", nil)
		}, nil}.command(),
		leaf{"cancel", "Ends the move; the records stay where they are", "  caddy sidegate migrate cancel", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
			return showMove(cmd, http.MethodPost, "migrate/cancel", none{})
		}, nil}.command(),
		leaf{
			"abandon", "Lets a store be used again whose records were moved away; what was written since is lost", `  caddy sidegate migrate abandon --config Caddyfile
  caddy sidegate migrate abandon --config Caddyfile.new --unfinished`, cobra.NoArgs, abandon(o),
			func(flags *pflag.FlagSet) {
				flags.Bool("unfinished", false, "Also a copy that was never handed over: records may be missing, and ended sessions live")
			},
		}.command(),
	)
	return cmd
}

func abandon(o Offline) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) (err error) {
		if flag(cmd, "config") == "" {
			return usage("give --config FILE: it names the store")
		}
		var a Abandonment
		if a.Config, _, _, err = caddycmd.LoadConfig(flag(cmd, "config"), flag(cmd, "adapter")); err != nil {
			return usageError{err}
		}
		a.Copy, _ = cmd.Flags().GetBool("unfinished")
		what, err := o.Abandon(cmd.Context(), a)
		if err != nil {
			return err
		}
		return say(cmd, what)
	}
}

// moveOrder is what the new configuration says of its store.
type moveOrder struct {
	Store         json.RawMessage `json:"store,omitempty"`
	MasterKey     string          `json:"master_key,omitempty"`
	MasterKeyExec json.RawMessage `json:"master_key_exec,omitempty"`
	Overwrite     bool            `json:"overwrite,omitempty"`
	SkipCodes     bool            `json:"skip_codes,omitempty"`
}

func orderOf(cmd *cobra.Command) (o moveOrder, err error) {
	if flag(cmd, "to") == "" {
		return o, usage("give --to FILE: the configuration that the server is to have next")
	}
	text, _, _, err := caddycmd.LoadConfig(flag(cmd, "to"), flag(cmd, "adapter"))
	if err != nil {
		return o, usageError{err}
	}
	var config struct {
		Apps struct {
			Sidegate *moveOrder `json:"sidegate"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return o, usageError{fmt.Errorf("reading %s: %w", flag(cmd, "to"), err)}
	}
	if config.Apps.Sidegate != nil {
		o = *config.Apps.Sidegate
	}
	o.Overwrite, _ = cmd.Flags().GetBool("overwrite")
	o.SkipCodes, _ = cmd.Flags().GetBool("skip-codes")
	return o, nil
}

func migrate(cmd *cobra.Command, _ []string) error {
	order, err := orderOf(cmd)
	if err != nil {
		return err
	}
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	answer, err := c.do(cmd.Context(), http.MethodPost, "migrate", order)
	if err != nil {
		return err
	}
	if detach, _ := cmd.Flags().GetBool("detach"); detach {
		return endMove(cmd, answer)
	}
	if answer, err = c.watchMove(cmd.Context(), startLine(cmd.ErrOrStderr()), answer); err != nil {
		return err
	}
	return endMove(cmd, answer)
}

// watchEvery is how often the server is asked how far it is.
const watchEvery = 500 * time.Millisecond

// watchMove shows progress until the stores are in step, or never will be.
func (c *client) watchMove(ctx context.Context, line *statusLine, answer []byte) ([]byte, error) {
	defer line.end()
	for {
		var s moveStatus
		if err := json.Unmarshal(answer, &s); err != nil {
			return nil, fmt.Errorf("reading the answer: %w", err)
		}
		if !s.underWay() {
			return answer, nil
		}
		line.show(s.progress())
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(watchEvery):
		}
		var err error
		if answer, err = c.do(ctx, http.MethodGet, "migrate", nil); err != nil {
			return nil, err
		}
	}
}

func showMove(cmd *cobra.Command, method, path string, in any) error {
	answer, err := ask(cmd, method, path, in)
	if err != nil {
		return err
	}
	if method == http.MethodPost { // that it is over is what was wanted
		return show(cmd, answer, new(moveStatus), func() printer { return done("The move is over; the records are where they were.") })
	}
	return endMove(cmd, answer)
}

// endMove prints how it stands; the exit code says whether it is well.
func endMove(cmd *cobra.Command, answer []byte) error {
	var s moveStatus
	if err := show(cmd, answer, &s, func() printer { return &s }); err != nil {
		return err
	}
	if s.Phase == "broken" || s.Phase == "stopped" {
		return errors.New("the records stay where they are; the new store is of no use as it is")
	}
	return nil
}
