package command

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// show prints an answer: as it came for scripts, else as render has it.
func show(cmd *cobra.Command, answer []byte, v any, render func() table) error {
	if raw, _ := cmd.Flags().GetBool("json"); raw {
		_, err := cmd.OutOrStdout().Write(answer)
		return err
	}
	if err := json.Unmarshal(answer, v); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return render().print(cmd)
}

// table is aligned columns under a line of names.
type table struct {
	names []string
	rows  [][]string
	note  string // below it
}

func (t table) print(cmd *cobra.Command) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.names}, t.rows...) {
		for i := range row {
			if row[i] = plain(row[i]); row[i] == "" {
				row[i] = "-"
			}
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if t.note != "" {
		fmt.Fprintln(cmd.OutOrStdout(), t.note)
	}
	return nil
}

// plain keeps what somebody else has written from steering the terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// when is an instant as people read it; empty when there is none.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
