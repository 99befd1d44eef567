package command

import (
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// maxKeyFile bounds what is read of a key file: a key takes 65 bytes.
const maxKeyFile = 4096

// rewrap sends the new key to the server, which never writes it down.
func rewrap(cmd *cobra.Command, _ []string) error {
	var body struct {
		NewKey string `json:"new_key,omitempty"`
	}
	if file := flag(cmd, "new-key-file"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return usageError{err}
		}
		if len(text) == 0 || len(text) > maxKeyFile {
			return usage("%s holds no key: that is 32 bytes in base64 or hex", file)
		}
		body.NewKey = string(text)
	} else if cmd.Flags().Changed("new-key-file") {
		return usage("--new-key-file needs the name of a file")
	}
	return showMasters(cmd, http.MethodPost, "keys/master", body)
}

func showMasters(cmd *cobra.Command, method, path string, in any) error {
	answer, err := ask(cmd, method, path, in)
	if err != nil {
		return err
	}
	var list struct {
		Masters []struct {
			Fingerprint string
			AddedAt     time.Time `json:"added_at"`
			InUse       bool      `json:"in_use"`
		} `json:"master_keys"`
	}
	return show(cmd, answer, &list, func() printer {
		t := table{names: []string{"FINGERPRINT", "ADDED", "STATE"}}
		for _, m := range list.Masters {
			state := "opens the store"
			if m.InUse {
				state = "in use"
			}
			t.rows = append(t.rows, []string{m.Fingerprint, when(m.AddedAt), state})
		}
		return t
	})
}
