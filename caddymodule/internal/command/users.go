package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// user is a user as the server tells it.
type user struct {
	ID        uint64    `json:"auth_user_id"`
	Phone     string    `json:"phone"`
	Type      string    `json:"user_type"`
	Roles     []string  `json:"user_roles"`
	CreatedAt time.Time `json:"created_at"`
	SignedIn  time.Time `json:"signed_in_at"`
	Sessions  int       `json:"sessions"`
	Banned    bool      `json:"banned"`
	Reason    string    `json:"ban_reason"`
	Until     time.Time `json:"banned_until"`
}

func (u user) ban() string {
	switch {
	case !u.Banned:
		return ""
	case u.Until.IsZero():
		return strings.TrimSpace("for good " + u.Reason)
	}
	return strings.TrimSpace("until " + when(u.Until) + " " + u.Reason)
}

func userTable(users ...user) table {
	t := table{names: []string{"ID", "PHONE", "TYPE", "ROLES", "CREATED", "SIGNED IN", "SESSIONS", "BANNED"}}
	for _, u := range users {
		t.rows = append(t.rows, []string{
			strconv.FormatUint(u.ID, 10), u.Phone, u.Type, strings.Join(u.Roles, ","),
			when(u.CreatedAt), when(u.SignedIn), strconv.Itoa(u.Sessions), u.ban(),
		})
	}
	return t
}

func userCommands() *cobra.Command {
	cmd := branch("users", "Who may sign in",
		leaf{"get USER", "Shows one user", "  caddy sidegate users get +46701234567", cobra.ExactArgs(1), getUser},
	)
	list := leaf{"list", "Lists users", `  caddy sidegate users list --banned
  caddy sidegate users list --role admin --json`, cobra.NoArgs, listUsers}.command()
	list.Flags().Bool("banned", false, "Only those who are banned now")
	list.Flags().String("role", "", "Only those who have this role")
	list.Flags().Int("limit", 100, "How many at most, up to 1000")
	list.Flags().String("after", "", "Go on behind the user with this id")
	cmd.AddCommand(list)
	return cmd
}

func listUsers(cmd *cobra.Command, _ []string) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	limit, _ := cmd.Flags().GetInt("limit")
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if banned, _ := cmd.Flags().GetBool("banned"); banned {
		query.Set("banned", "true")
	}
	for _, name := range []string{"role", "after"} {
		if value := flag(cmd, name); value != "" {
			query.Set(name, value)
		}
	}
	answer, err := c.do(cmd.Context(), http.MethodGet, "users?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	var page struct {
		Users []user
		Next  string
	}
	return show(cmd, answer, &page, func() table {
		t := userTable(page.Users...)
		if page.Next != "" {
			t.note = "There may be more: --after " + page.Next
		}
		return t
	})
}

func getUser(cmd *cobra.Command, args []string) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	method, path, in := http.MethodGet, "users/"+url.PathEscape(args[0]), any(nil)
	if isPhone(args[0]) {
		method, path, in = http.MethodPost, "users/find", map[string]string{"phone": args[0]}
	}
	answer, err := c.do(cmd.Context(), method, path, in)
	if err != nil {
		return err
	}
	var u user
	return show(cmd, answer, &u, func() table { return userTable(u) })
}

func isPhone(text string) bool { return strings.HasPrefix(text, "+") }

// idOf gives the id of the user that somebody names by id or number.
func (c *client) idOf(cmd *cobra.Command, name string) (string, error) {
	if !isPhone(name) {
		return url.PathEscape(name), nil
	}
	answer, err := c.do(cmd.Context(), http.MethodPost, "users/find", map[string]string{"phone": name})
	if err != nil {
		return "", err
	}
	var u user
	if err := json.Unmarshal(answer, &u); err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	return strconv.FormatUint(u.ID, 10), nil
}
