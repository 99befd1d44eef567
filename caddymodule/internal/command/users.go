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
	"github.com/spf13/pflag"
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
	return branch("users", "Who may sign in",
		leaf{
			"list", "Lists users", `  caddy sidegate users list --banned
  caddy sidegate users list --role admin --json`, cobra.NoArgs, listUsers,
			func(flags *pflag.FlagSet) {
				flags.Bool("banned", false, "Only those who are banned now")
				flags.String("role", "", "Only those who have this role")
				flags.Int("limit", 100, "How many at most, up to 1000")
				flags.String("after", "", "Go on behind the user with this id")
			},
		},
		leaf{"get USER", "Shows one user", "  caddy sidegate users get +46701234567", cobra.ExactArgs(1), getUser, nil},
		leaf{
			"create PHONE", "Makes a user", "  caddy sidegate users create +46701234567 --id 4711 --roles customer,beta", cobra.ExactArgs(1), createUser,
			func(flags *pflag.FlagSet) {
				flags.Uint64("id", 0, "The id that your app knows the person by; default: the next one")
				accountFlags(flags)
			},
		},
		leaf{
			"set USER", "Gives a user another type or other roles", `  caddy sidegate users set 7 --roles customer,admin
  caddy sidegate users set +46701234567 --type staff --roles ""`, cobra.ExactArgs(1), setUser, accountFlags,
		},
		leaf{
			"ban USER", "Keeps a user out, and ends all the user's sessions", `  caddy sidegate users ban 7 --reason "spam, ticket 99"
  caddy sidegate users ban 7 --for 7d`, cobra.ExactArgs(1), banUser,
			func(flags *pflag.FlagSet) {
				flags.String("reason", "", "Why, for other operators; the user is not told")
				flags.String("until", "", "When the ban ends by itself, such as 2027-06-30T12:00:00Z; default: never")
				flags.String("for", "", "How long the ban lasts, such as 90m or 7d, instead of --until")
			},
		},
		leaf{
			"import FILE", "Makes users of a file's lines", `  caddy sidegate users import users.csv --dry-run
  caddy sidegate users import users.ndjson`, cobra.ExactArgs(1), importUsers,
			func(flags *pflag.FlagSet) {
				flags.Bool("dry-run", false, "Find the conflicts and change nothing")
				flags.String("format", "", "ndjson or csv; default: by the file's name")
			},
		},
		leaf{
			"export [USER]", "Prints all users as lines that import takes, or all that is held on one", `  caddy sidegate users export > users.ndjson
  caddy sidegate users export +46701234567 > person.json`, cobra.MaximumNArgs(1), exportUsers, nil,
		},
		leaf{"unban USER", "Lets a user in again", "  caddy sidegate users unban 7", cobra.ExactArgs(1), unbanUser, nil},
		leaf{"reopen USER", "Opens a dormant account to the next right code: be sure whose the number is", "  caddy sidegate users reopen 7", cobra.ExactArgs(1), reopenUser, nil},
		leaf{"unlock USER", "Forgets the wrong codes of a number, which need have no user", "  caddy sidegate users unlock +46701234567", cobra.ExactArgs(1), unlockUser, nil},
		leaf{
			"delete USER", "Removes a user for good, with sessions and devices", "  caddy sidegate users delete 7 --yes", cobra.ExactArgs(1), deleteUser,
			func(flags *pflag.FlagSet) { flags.Bool("yes", false, "You are sure") },
		},
	)
}

func listUsers(cmd *cobra.Command, _ []string) error {
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
	answer, err := ask(cmd, http.MethodGet, "users?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	var page struct {
		Users []user
		Next  string
	}
	return show(cmd, answer, &page, func() printer {
		t := userTable(page.Users...)
		t.note = more(page.Next)
		return t
	})
}

func getUser(cmd *cobra.Command, args []string) error {
	method, path, in := http.MethodGet, "users/"+url.PathEscape(args[0]), any(nil)
	if isPhone(args[0]) {
		method, path, in = http.MethodPost, "users/find", map[string]string{"phone": args[0]}
	}
	answer, err := ask(cmd, method, path, in)
	if err != nil {
		return err
	}
	return showUser(cmd, answer)
}

func showUser(cmd *cobra.Command, answer []byte) error {
	var u user
	return show(cmd, answer, &u, func() printer { return userTable(u) })
}

func isPhone(text string) bool { return strings.HasPrefix(text, "+") }

// none is the body of an act that needs no more than its path.
type none struct{}

// about makes a request about a user whom somebody names by id or by number.
func about(cmd *cobra.Command, name, method, rest string, in any) ([]byte, error) {
	c, err := newClient(cmd)
	if err != nil {
		return nil, err
	}
	id := url.PathEscape(name)
	if isPhone(name) {
		answer, err := c.do(cmd.Context(), http.MethodPost, "users/find", map[string]string{"phone": name})
		if err != nil {
			return nil, err
		}
		var u user
		if err := json.Unmarshal(answer, &u); err != nil {
			return nil, fmt.Errorf("reading the answer: %w", err)
		}
		id = strconv.FormatUint(u.ID, 10)
	}
	return c.do(cmd.Context(), method, "users/"+id+rest, in)
}
