package command

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func deviceCommands() *cobra.Command {
	return branch("devices", "What users sign in from",
		leaf{
			"list USER", "Lists a user's devices", "  caddy sidegate devices list 7", cobra.ExactArgs(1), listDevices,
			func(flags *pflag.FlagSet) {
				flags.Int("limit", 100, "How many at most, up to 1000")
				flags.String("after", "", "Go on behind the device with this id")
			},
		},
		leaf{"delete USER DEVICE", "Forgets a device, and ends the session on it", "  caddy sidegate devices delete 7 mtdDqp1gT0mS3xTfc0JXsw", cobra.ExactArgs(2), deleteDevice, nil},
	)
}

func listDevices(cmd *cobra.Command, args []string) error {
	limit, _ := cmd.Flags().GetInt("limit")
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if after := flag(cmd, "after"); after != "" {
		query.Set("after", after)
	}
	answer, err := about(cmd, args[0], http.MethodGet, "/devices?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	var page struct {
		Devices []struct {
			ID        string    `json:"device_id"`
			Type      string    `json:"device_type"`
			Name      string    `json:"device_name"`
			Platform  string    `json:"platform"`
			Version   string    `json:"app_version"`
			CreatedAt time.Time `json:"created_at"`
			UpdatedAt time.Time `json:"updated_at"`
		}
		Next string
	}
	return show(cmd, answer, &page, func() printer {
		t := table{names: []string{"DEVICE", "TYPE", "NAME", "PLATFORM", "APP", "CREATED", "LAST SIGN-IN"}, note: more(page.Next)}
		for _, d := range page.Devices {
			t.rows = append(t.rows, []string{d.ID, d.Type, d.Name, d.Platform, d.Version, when(d.CreatedAt), when(d.UpdatedAt)})
		}
		return t
	})
}

// more tells that a list goes on.
func more(next string) string {
	if next == "" {
		return ""
	}
	return "There may be more: --after " + next
}

func deleteDevice(cmd *cobra.Command, args []string) error {
	_, err := about(cmd, args[0], http.MethodPost, "/devices/delete", map[string]string{"device_id": args[1]})
	return after(cmd, err, "The device is forgotten.")
}
