package command

import (
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func accountFlags(flags *pflag.FlagSet) {
	flags.String("type", "", "The user's type")
	flags.String("roles", "", `The user's roles, all of them, comma-separated; "" for none`)
}

// account is what accountFlags say; what is not given is nil.
func account(cmd *cobra.Command) map[string]any {
	in := map[string]any{}
	if cmd.Flags().Changed("type") {
		in["user_type"] = flag(cmd, "type")
	}
	if cmd.Flags().Changed("roles") {
		in["user_roles"] = split(flag(cmd, "roles"))
	}
	return in
}

func split(text string) []string {
	if text == "" {
		return []string{}
	}
	return strings.Split(text, ",")
}

func createUser(cmd *cobra.Command, args []string) error {
	in := account(cmd)
	in["phone"] = args[0]
	if id, _ := cmd.Flags().GetUint64("id"); id != 0 {
		in["auth_user_id"] = id
	}
	answer, err := ask(cmd, http.MethodPost, "users", in)
	if err != nil {
		return err
	}
	return showUser(cmd, answer)
}

func setUser(cmd *cobra.Command, args []string) error {
	in := account(cmd)
	if len(in) == 0 {
		return usage("say what to set: --type, --roles or both")
	}
	answer, err := about(cmd, args[0], http.MethodPatch, "", in)
	if err != nil {
		return err
	}
	return showUser(cmd, answer)
}

func banUser(cmd *cobra.Command, args []string) error {
	in := map[string]any{"reason": flag(cmd, "reason")}
	until, err := banEnd(flag(cmd, "until"), flag(cmd, "for"))
	if err != nil {
		return err
	}
	if !until.IsZero() {
		in["until"] = until
	}
	answer, err := about(cmd, args[0], http.MethodPost, "/ban", in)
	if err != nil {
		return err
	}
	return showUser(cmd, answer)
}

// banEnd reads when a ban ends; zero: never.
func banEnd(until, lasts string) (time.Time, error) {
	switch {
	case until != "" && lasts != "":
		return time.Time{}, usage("give --until or --for, not both")
	case until != "":
		at, err := time.Parse(time.RFC3339, until)
		if err != nil {
			return at, usage("--until %q is no time; write it as 2027-06-30T12:00:00Z", until)
		}
		return at, nil
	case lasts != "":
		d, err := caddy.ParseDuration(lasts)
		if err != nil || d <= 0 {
			return time.Time{}, usage("--for %q is no duration; write it as 90m or 7d", lasts)
		}
		return time.Now().Add(d).UTC(), nil
	}
	return time.Time{}, nil
}

func unbanUser(cmd *cobra.Command, args []string) error {
	answer, err := about(cmd, args[0], http.MethodPost, "/unban", none{})
	if err != nil {
		return err
	}
	return showUser(cmd, answer)
}

func reopenUser(cmd *cobra.Command, args []string) error {
	answer, err := about(cmd, args[0], http.MethodPost, "/reopen", none{})
	if err != nil {
		return err
	}
	return showUser(cmd, answer)
}

func unlockUser(cmd *cobra.Command, args []string) error {
	var err error
	if isPhone(args[0]) { // the number need have no user
		err = act(cmd, "unlock", map[string]string{"phone": args[0]})
	} else {
		_, err = about(cmd, args[0], http.MethodPost, "/unlock", none{})
	}
	if err != nil {
		return err
	}
	return say(cmd, "The wrong codes are forgotten.")
}

func deleteUser(cmd *cobra.Command, args []string) error {
	if sure, _ := cmd.Flags().GetBool("yes"); !sure {
		return usage("this cannot be taken back; say --yes if you are sure")
	}
	if _, err := about(cmd, args[0], http.MethodDelete, "", nil); err != nil {
		return err
	}
	return say(cmd, "The user is deleted.")
}

// act posts to a route that is about no user.
func act(cmd *cobra.Command, path string, in any) error {
	_, err := ask(cmd, http.MethodPost, path, in)
	return err
}
