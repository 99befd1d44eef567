package command

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func keyCommands() *cobra.Command {
	return branch("keys", "What access tokens are signed with",
		leaf{"list", "Lists the signing keys", "  caddy sidegate keys list", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
			return showKeys(cmd, http.MethodGet, "keys", nil)
		}, nil},
		leaf{"rotate", "Makes a new signing key; tokens of the old one live out their life", "  caddy sidegate keys rotate", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
			return showKeys(cmd, http.MethodPost, "keys/rotate", none{})
		}, nil},
	)
}

func showKeys(cmd *cobra.Command, method, path string, in any) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	answer, err := c.do(cmd.Context(), method, path, in)
	if err != nil {
		return err
	}
	var list struct {
		Keys []struct {
			Kid, Alg string
			SignFrom time.Time `json:"sign_from"`
			Signs    bool
		}
	}
	return show(cmd, answer, &list, func() printer {
		t := table{names: []string{"KID", "ALG", "STATE", "SIGNS FROM"}}
		for _, k := range list.Keys {
			state := "verifies"
			if k.Signs {
				state = "signs"
			} else if k.SignFrom.After(time.Now()) {
				state = "next"
			}
			t.rows = append(t.rows, []string{k.Kid, k.Alg, state, when(k.SignFrom)})
		}
		return t
	})
}
