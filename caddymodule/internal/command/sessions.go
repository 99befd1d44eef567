package command

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// session is a session as the server tells it.
type session struct {
	ID             string    `json:"session_id"`
	UserID         uint64    `json:"auth_user_id"`
	DeviceID       string    `json:"device_id"`
	DeviceName     string    `json:"device_name"`
	IsActive       bool      `json:"is_active"`
	EndReason      string    `json:"end_reason"`
	CreatedAt      time.Time `json:"created_at"`
	LastAccessedAt time.Time `json:"last_accessed_at"`
	ExpiresAt      time.Time `json:"expires_at"`
}

func sessionTable(sessions ...session) table {
	t := table{names: []string{"SESSION", "USER", "DEVICE", "NAME", "STATE", "CREATED", "LAST ACCESS", "EXPIRES"}}
	for _, s := range sessions {
		state := "live"
		if !s.IsActive {
			state = s.EndReason
		}
		t.rows = append(t.rows, []string{
			s.ID, strconv.FormatUint(s.UserID, 10), s.DeviceID, s.DeviceName, state,
			when(s.CreatedAt), when(s.LastAccessedAt), when(s.ExpiresAt),
		})
	}
	return t
}

func sessionCommands() *cobra.Command {
	return branch("sessions", "Who is signed in",
		leaf{"list USER", "Lists a user's sessions", "  caddy sidegate sessions list +46701234567", cobra.ExactArgs(1), listSessions, nil},
		leaf{"get SESSION", "Shows one session", "  caddy sidegate sessions get mtdDqp1gT0mS3xTfc0JXsw", cobra.ExactArgs(1), getSession, nil},
		leaf{
			"revoke [SESSION]", "Ends a session, those of a user, or all there are", `  caddy sidegate sessions revoke mtdDqp1gT0mS3xTfc0JXsw
  caddy sidegate sessions revoke --user 7
  caddy sidegate sessions revoke --all`, cobra.MaximumNArgs(1), revokeSessions,
			func(flags *pflag.FlagSet) {
				flags.String("user", "", "All sessions of this user")
				flags.Bool("all", false, "All sessions of everybody, at once")
			},
		},
	)
}

func listSessions(cmd *cobra.Command, args []string) error {
	answer, err := about(cmd, args[0], http.MethodGet, "/sessions", nil)
	if err != nil {
		return err
	}
	var list struct{ Sessions []session }
	return show(cmd, answer, &list, func() printer { return sessionTable(list.Sessions...) })
}

func getSession(cmd *cobra.Command, args []string) error {
	answer, err := ask(cmd, http.MethodGet, "sessions/"+url.PathEscape(args[0]), nil)
	if err != nil {
		return err
	}
	var s session
	return show(cmd, answer, &s, func() printer { return sessionTable(s) })
}

func revokeSessions(cmd *cobra.Command, args []string) error {
	user := flag(cmd, "user")
	all, _ := cmd.Flags().GetBool("all")
	switch {
	case len(args) == 1 && user == "" && !all:
		return after(cmd, act(cmd, "sessions/"+url.PathEscape(args[0])+"/revoke", none{}), "The session is over.")
	case len(args) == 0 && user != "" && !all:
		_, err := about(cmd, user, http.MethodPost, "/sessions/revoke", none{})
		return after(cmd, err, "The user's sessions are over.")
	case len(args) == 0 && user == "" && all:
		return after(cmd, act(cmd, "sessions/revoke-all", none{}), "All sessions are over.")
	}
	return usage("name a session, or --user USER, or --all")
}

// after says what has happened, unless it has not.
func after(cmd *cobra.Command, err error, text string) error {
	if err != nil {
		return err
	}
	return say(cmd, text)
}
