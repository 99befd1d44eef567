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

// printer is something that people read.
type printer interface {
	print(cmd *cobra.Command) error
}

// show reads an answer, and prints it: as it came for scripts, else as render
// has it.
func show(cmd *cobra.Command, answer []byte, v any, render func() printer) error {
	if err := json.Unmarshal(answer, v); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if raw, _ := cmd.Flags().GetBool("json"); raw {
		_, err := cmd.OutOrStdout().Write(answer)
		return err
	}
	return render().print(cmd)
}

// done is a sentence that says what has happened.
type done string

func (d done) print(cmd *cobra.Command) error {
	_, err := fmt.Fprintln(cmd.OutOrStdout(), plain(string(d)))
	return err
}

// say prints what has happened, for people: a script has the exit code.
func say(cmd *cobra.Command, text string) error {
	if raw, _ := cmd.Flags().GetBool("json"); raw {
		return nil
	}
	return done(text).print(cmd)
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
