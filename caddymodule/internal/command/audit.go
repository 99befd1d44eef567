package command

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Verifier reads an audit, and finds whether it is whole and in order. head is
// the JSON of the route audit/head, or nil when the end is not known.
type Verifier func(log io.Reader, head []byte) (found AuditFound, err error)

// AuditFound is what a Verifier has to say.
type AuditFound struct {
	Lines  int      `json:"lines"`
	Chains int      `json:"chains"` // one for each process
	Faults []string `json:"faults"` // none: nothing was changed, moved or taken away
}

func auditCommands(verify Verifier) *cobra.Command {
	return branch("audit", "Whether the audit is whole",
		leaf{
			"verify FILE...", "Looks for lines that were changed, moved or taken away; files in the order they were written",
			`  caddy sidegate audit verify /var/log/caddy/sidegate-audit.log
  caddy sidegate audit verify --offline old-1.log old-2.log   # copies: the end is not known`,
			cobra.MinimumNArgs(1),
			func(cmd *cobra.Command, files []string) error { return verifyAudit(cmd, files, verify) },
			func(flags *pflag.FlagSet) {
				flags.Bool("offline", false, "Do not ask the server for the last line that must be there")
			},
		},
	)
}

func verifyAudit(cmd *cobra.Command, files []string, verify Verifier) error {
	head, err := auditHead(cmd)
	if err != nil {
		return err
	}
	log, closeAll, err := openLogs(files)
	if err != nil {
		return err
	}
	defer closeAll()
	found, err := verify(log, head)
	if err != nil {
		return err
	}
	answer, err := json.Marshal(found)
	if err != nil {
		return err
	}
	if err := show(cmd, answer, &found, func() printer { return &found }); err != nil {
		return err
	}
	if len(found.Faults) > 0 {
		return errFindings
	}
	return nil
}

// auditHead is read before the files: whatever it names is in them by then.
func auditHead(cmd *cobra.Command) ([]byte, error) {
	if offline, _ := cmd.Flags().GetBool("offline"); offline {
		return nil, nil
	}
	return ask(cmd, http.MethodGet, "audit/head", nil)
}

func (f *AuditFound) print(cmd *cobra.Command) error {
	w := cmd.OutOrStdout()
	for _, fault := range f.Faults {
		if _, err := fmt.Fprintln(w, fault); err != nil {
			return err
		}
	}
	verdict := "whole and in order"
	if len(f.Faults) > 0 {
		verdict = "NOT as they were written"
	}
	_, err := fmt.Fprintf(w, "%d lines of %d processes: %s\n", f.Lines, f.Chains, verdict)
	return err
}
