package command

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func keyCommands() *cobra.Command {
	return branch("keys", "What access tokens are signed with, and what opens the store",
		leaf{"list", "Lists the signing keys", "  caddy sidegate keys list", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
			return showKeys(cmd, http.MethodGet, "keys", nil)
		}, nil},
		leaf{"rotate", "Makes a new signing key; tokens of the old one live out their life",
			"  caddy sidegate keys rotate\n  caddy sidegate keys rotate --revoke   # a key has leaked", cobra.NoArgs, rotate, func(flags *pflag.FlagSet) {
				flags.Bool("revoke", false, "The new key signs at once and all others are gone; clients refresh, nobody is signed out")
			}},
		leaf{"master", "Lists the master keys that open the store", "  caddy sidegate keys master", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
			return showMasters(cmd, http.MethodGet, "keys/master", nil)
		}, nil},
		leaf{"rewrap", "Lets a new master key open the store, beside the old one",
			"  caddy sidegate keys rewrap   # where Sidegate has made the key file itself\n  caddy sidegate keys rewrap --new-key-file /etc/sidegate/new.key", cobra.NoArgs, rewrap, func(flags *pflag.FlagSet) {
				flags.String("new-key-file", "", "File with the new key: 32 bytes in base64 or hex. Without it the server makes one")
			}},
		leaf{"retire-master", "Takes all master keys but the configured one from the store", "  caddy sidegate keys retire-master", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
			return showMasters(cmd, http.MethodPost, "keys/master/retire", none{})
		}, nil},
	)
}

func rotate(cmd *cobra.Command, _ []string) error {
	revoke, _ := cmd.Flags().GetBool("revoke")
	return showKeys(cmd, http.MethodPost, "keys/rotate", struct {
		Revoke bool `json:"revoke,omitempty"`
	}{revoke})
}

func showKeys(cmd *cobra.Command, method, path string, in any) error {
	answer, err := ask(cmd, method, path, in)
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
