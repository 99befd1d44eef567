package command

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// stats is how much there is.
type stats struct {
	LiveSessions int  `json:"live_sessions"`
	Users        int  `json:"users"`
	UsersExact   bool `json:"users_exact"`
	Store        struct {
		Address string
		Bytes   *int64
	}
	Limits []struct {
		Limit   string
		N, Used int
		Seconds int64 `json:"window_seconds"`
	}
	Senders []struct {
		Name     string
		Down     bool
		Failures int
		RetryAt  time.Time `json:"retry_at"`
	}
}

func (s stats) table() table {
	t := table{names: []string{"WHAT", "VALUE"}}
	row := func(what, value string) { t.rows = append(t.rows, []string{what, value}) }
	users := strconv.Itoa(s.Users)
	if !s.UsersExact {
		users = "more than " + users
	}
	row("live sessions in memory", strconv.Itoa(s.LiveSessions))
	row("users", users)
	row("store", s.Store.Address)
	if s.Store.Bytes != nil {
		row("bytes on disk", strconv.FormatInt(*s.Store.Bytes, 10))
	}
	for _, l := range s.Limits {
		row(fmt.Sprintf("%s in %s", l.Limit, time.Duration(l.Seconds)*time.Second), fmt.Sprintf("%d of %d", l.Used, l.N))
	}
	for _, sender := range s.Senders {
		state := "works"
		if sender.Down {
			state = "is down, tried again at " + when(sender.RetryAt)
		} else if sender.Failures > 0 {
			state = fmt.Sprintf("failed %d times in a row", sender.Failures)
		}
		row("sender "+sender.Name, state)
	}
	return t
}

func statsCommand() *cobra.Command {
	return leaf{"stats", "Shows how much there is, and how the senders do", "  caddy sidegate stats", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		answer, err := ask(cmd, http.MethodGet, "stats", nil)
		if err != nil {
			return err
		}
		var s stats
		return show(cmd, answer, &s, func() printer { return s.table() })
	}, nil}.command()
}
