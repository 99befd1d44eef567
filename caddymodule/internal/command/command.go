// Package command is `caddy sidegate …`: what an operator does from a shell. It
// knows cobra and Caddy's commands, and nothing of Sidegate but the routes of
// the admin endpoint: whatever it can do, a script with curl can do too.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Offline are the acts that need no server.
type Offline struct {
	Examine     Examiner
	VerifyAudit Verifier
	// NewKey makes a key for backups: the text of its file, and who to encrypt for.
	NewKey func() (identity, recipient string, err error)
	// VerifyBackup reads a whole backup, and gives what it has as JSON.
	VerifyBackup func(file io.Reader, k Key) ([]byte, error)
	// Restore makes a store of a backup, and gives its report as JSON.
	Restore func(ctx context.Context, r Restoration) ([]byte, error)
	// Abandon lets a marked store be used again, and says what it has done.
	Abandon func(ctx context.Context, a Abandonment) (string, error)
}

// Register adds the command to Caddy's.
func Register(o Offline) {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:      "sidegate",
		Usage:     "<command>",
		Short:     "Users, sessions, keys and health of a running Sidegate",
		Long:      long,
		CobraFunc: func(cmd *cobra.Command) { build(cmd, o) },
	})
}

const long = `
Shows and changes what the Sidegate of a running Caddy holds. It asks the admin
endpoint, which must be on (it is by default): the one at --address, else the
one that the file of --config names, else ` + "localhost:2019" + `.

A USER is an id (7) or a phone number (+46701234567).

What you change is told to the audit log, with the name of --by.

Exit codes: 0 it is done; 1 the server refused, or something was found wrong;
2 the command line is wrong; 3 no server could be reached.`

// build makes the tree of commands under cmd.
func build(cmd *cobra.Command, o Offline) {
	flags := cmd.PersistentFlags()
	flags.String("address", "", "Address of Caddy's admin endpoint: HOST:PORT or unix//PATH")
	flags.StringP("config", "c", "", "Configuration file that names the admin endpoint, when --address is not given")
	flags.StringP("adapter", "a", "", "Adapter of that file, such as caddyfile")
	flags.Bool("json", false, "Print the server's JSON, for scripts")
	flags.String("by", "", "Who you are, for the audit log")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return fail(cmd, flagError(err)) })
	group(cmd)
	cmd.AddCommand(
		userCommands(), sessionCommands(), deviceCommands(), blockCommands(), keyCommands(),
		statsCommand(), doctorCommand(o.Examine), auditCommands(o.VerifyAudit), backupCommands(o), restoreCommand(o.Restore),
		migrateCommands(o),
	)
}

// leaf is one command.
type leaf struct {
	use, short, example string
	args                cobra.PositionalArgs
	run                 func(cmd *cobra.Command, args []string) error
	flags               func(flags *pflag.FlagSet) // nil: none of its own
}

// command makes it one of cobra's. All errors come out in one way: a line for
// people, and the exit code.
func (l leaf) command() *cobra.Command {
	cmd := &cobra.Command{
		Use: l.use, Short: l.short, Example: l.example,
		Args:              func(*cobra.Command, []string) error { return nil }, // RunE checks, for the exit code
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := l.args(cmd, args); err != nil {
				return fail(cmd, usageError{fmt.Errorf("%w; usage: %s", err, cmd.UseLine())})
			}
			if err := l.run(cmd, args); err != nil {
				return fail(cmd, err)
			}
			return nil
		},
	}
	if l.flags != nil {
		l.flags(cmd.Flags())
	}
	return cmd
}

// branch is a command that has commands.
func branch(use, short string, leaves ...leaf) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	group(cmd)
	for _, l := range leaves {
		cmd.AddCommand(l.command())
	}
	return cmd
}

// group has a command without one of its own show its help; an unknown one is
// an error, and not silence.
func group(cmd *cobra.Command) {
	cmd.Args = func(*cobra.Command, []string) error { return nil }
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return fail(cmd, usageError{fmt.Errorf("unknown command %q; see %s --help", args[0], cmd.CommandPath())})
	}
}

// fail says what is wrong and makes it the exit code.
func fail(cmd *cobra.Command, err error) error {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	fmt.Fprintln(cmd.ErrOrStderr(), "Error: "+plain(err.Error()))
	code := exitCode(err)
	if code == exitRefused {
		return errors.New("refused") // Caddy's main exits with 1
	}
	exit := caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return code, nil })
	return exit(cmd, nil)
}

// flagError is about a flag, or about an id that was taken for one: one session
// in 64 has a hyphen in front.
func flagError(err error) error {
	const idLength = 22
	if _, word, ok := strings.Cut(err.Error(), " in -"); ok && len("-"+word) == idLength {
		return usage("%w; an id that begins with a hyphen comes last, behind two of them: -- -%s", err, word)
	}
	return usageError{err}
}

// usage is an error of the command line.
func usage(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

func flag(cmd *cobra.Command, name string) string {
	value, _ := cmd.Flags().GetString(name)
	return value
}
