package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Key opens a backup: one of the two.
type Key struct {
	Identity   string // the text of an identity file
	Passphrase string
}

// Restoration is an order to make a store.
type Restoration struct {
	File   string // the backup
	Key    Key
	Config []byte // of the new store, as JSON
	// Audit is the audit log from the backup on, the oldest line first; nil: all
	// sessions end.
	Audit io.Reader
}

func backupCommands(o Offline) *cobra.Command {
	cmd := leaf{
		"backup", "Writes a backup of the running server's store to standard output, encrypted", `  caddy sidegate backup new-key backup.key
  caddy sidegate backup --recipient age1… > sidegate.backup
  caddy sidegate backup verify sidegate.backup --identity backup.key`, cobra.NoArgs, makeBackup,
		func(flags *pflag.FlagSet) {
			flags.String("recipient", "", "Public key to encrypt for; backup new-key makes one")
			flags.String("passphrase-file", "", "File with a passphrase to encrypt with, instead of --recipient")
		},
	}.command()
	cmd.AddCommand(
		leaf{"new-key FILE", "Makes a key for backups, and prints its public half", "  caddy sidegate backup new-key backup.key", cobra.ExactArgs(1), newKey(o), nil}.command(),
		leaf{
			"verify FILE", "Reads a backup whole, as a restore would", "  caddy sidegate backup verify sidegate.backup --identity backup.key",
			cobra.ExactArgs(1), verifyBackup(o), keyFlags,
		}.command(),
	)
	return cmd
}

func keyFlags(flags *pflag.FlagSet) {
	flags.String("identity", "", "File with the key of the backup")
	flags.String("passphrase-file", "", "File with the passphrase of the backup, instead of --identity")
}

func newKey(o Offline) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		identity, recipient, err := o.NewKey()
		if err != nil {
			return err
		}
		file, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return usageError{err}
		}
		_, err = file.WriteString(identity)
		if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), recipient)
		return err
	}
}

// secretIn reads a secret that stands in the file of a flag: on the command line
// everybody on the machine could read it. Empty when the flag is not given.
func secretIn(cmd *cobra.Command, name string) (string, error) {
	file := flag(cmd, name)
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", usageError{err}
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

func keyOf(cmd *cobra.Command) (k Key, err error) {
	if k.Identity, err = secretIn(cmd, "identity"); err != nil {
		return k, err
	}
	if k.Passphrase, err = secretIn(cmd, "passphrase-file"); err != nil {
		return k, err
	}
	if (k.Identity == "") == (k.Passphrase == "") {
		return k, usage("give --identity FILE or --passphrase-file FILE, and not both")
	}
	return k, nil
}

func makeBackup(cmd *cobra.Command, _ []string) error {
	passphrase, err := secretIn(cmd, "passphrase-file")
	if err != nil {
		return err
	}
	if (flag(cmd, "recipient") == "") == (passphrase == "") {
		return usage("give --recipient age1… or --passphrase-file FILE, and not both")
	}
	if isTerminal(cmd.OutOrStdout()) {
		return usage("a backup is no text for a terminal: write > FILE behind the command")
	}
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"recipient": flag(cmd, "recipient"), "passphrase": passphrase})
	if err != nil {
		return err
	}
	answer, err := c.stream(cmd.Context(), http.MethodPost, "backup", "application/json", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	defer answer.Close()
	if _, err := io.Copy(cmd.OutOrStdout(), answer); err != nil {
		return fmt.Errorf("the backup is not whole: %w", err)
	}
	return nil
}

// isTerminal reports whether people see what is written there.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && file.Name() != os.DevNull
}

// contents is what a backup has.
type contents struct {
	At      time.Time
	Records int
	Kinds   map[string]int
}

func (c *contents) print(cmd *cobra.Command) error {
	t := table{names: []string{"KIND", "RECORDS"}, note: fmt.Sprintf("The backup is whole: %d records of %s.", c.Records, when(c.At))}
	for _, kind := range slices.Sorted(maps.Keys(c.Kinds)) {
		t.rows = append(t.rows, []string{kind, fmt.Sprint(c.Kinds[kind])})
	}
	return t.print(cmd)
}

func verifyBackup(o Offline) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		k, err := keyOf(cmd)
		if err != nil {
			return err
		}
		file, err := os.Open(args[0])
		if err != nil {
			return usageError{err}
		}
		defer file.Close()
		answer, err := o.VerifyBackup(file, k)
		if err != nil {
			return err
		}
		var c contents
		return show(cmd, answer, &c, func() printer { return &c })
	}
}

// report of a restore.
type restoration struct {
	BackupAt time.Time `json:"backup_at"`
	Records  int
	Ended    int `json:"sessions_ended"`
	Left     []string
}

func (r *restoration) print(cmd *cobra.Command) error {
	text := fmt.Sprintf("The store is made, with %d records as of %s. %d sessions have ended since.", r.Records, when(r.BackupAt), r.Ended)
	if err := done(text).print(cmd); err != nil {
		return err
	}
	for _, left := range r.Left {
		if err := done("To do: " + left).print(cmd); err != nil {
			return err
		}
	}
	return nil
}

func restoreCommand(restore func(context.Context, Restoration) ([]byte, error)) *cobra.Command {
	return leaf{
		"restore FILE", "Makes the store of a configuration out of a backup, while no server has it", `  caddy sidegate restore sidegate.backup --identity backup.key --config Caddyfile --audit audit-old.log.gz --audit audit.log
  caddy sidegate restore sidegate.backup --identity backup.key --config Caddyfile --end-all-sessions`, cobra.ExactArgs(1),
		func(cmd *cobra.Command, args []string) error {
			r, err := restorationOf(cmd, args[0])
			if err != nil {
				return err
			}
			if audits, _ := cmd.Flags().GetStringArray("audit"); len(audits) > 0 {
				log, closeAll, err := openLogs(audits)
				if err != nil {
					return err
				}
				defer closeAll()
				r.Audit = log
			}
			answer, err := restore(cmd.Context(), r)
			if err != nil {
				return err
			}
			var done restoration
			return show(cmd, answer, &done, func() printer { return &done })
		},
		func(flags *pflag.FlagSet) {
			keyFlags(flags)
			flags.StringArray("audit", nil, "File of the audit log from the backup on; repeat it, the oldest first")
			flags.Bool("end-all-sessions", false, "Sign everybody out, instead of reading the audit log")
		},
	}.command()
}

func restorationOf(cmd *cobra.Command, file string) (r Restoration, err error) {
	r.File = file
	audits, _ := cmd.Flags().GetStringArray("audit")
	if endAll, _ := cmd.Flags().GetBool("end-all-sessions"); (len(audits) == 0) == !endAll {
		return r, usage("a session that was ended after the backup must not live again: give --audit FILE for each file of the audit log, or --end-all-sessions")
	}
	if r.Key, err = keyOf(cmd); err != nil {
		return r, err
	}
	if flag(cmd, "config") == "" {
		return r, usage("give --config FILE: it says where the store is to be")
	}
	if r.Config, _, _, err = caddycmd.LoadConfig(flag(cmd, "config"), flag(cmd, "adapter")); err != nil {
		return r, usageError{err}
	}
	return r, nil
}
