package command

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func blockCommands() *cobra.Command {
	blockFlags := func(flags *pflag.FlagSet) {
		flags.String("country", "", "A country, as ISO 3166: NG")
		flags.String("prefix", "", "What the numbers begin with: +4670")
	}
	return branch("blocks", "Countries and prefixes that get no codes",
		leaf{"list", "Lists what is blocked", "  caddy sidegate blocks list", cobra.NoArgs, listBlocks, nil},
		leaf{
			"add", "Keeps codes from a country or a prefix", `  caddy sidegate blocks add --prefix +23470 --reason "pumping, ticket 99"
  caddy sidegate blocks add --country NG`, cobra.NoArgs, addBlock,
			func(flags *pflag.FlagSet) {
				blockFlags(flags)
				flags.String("reason", "", "Why, for other operators")
			},
		},
		leaf{"remove", "Lets the codes go out again", "  caddy sidegate blocks remove --country NG", cobra.NoArgs, removeBlock, blockFlags},
	)
}

func listBlocks(cmd *cobra.Command, _ []string) error {
	answer, err := ask(cmd, http.MethodGet, "blocks", nil)
	if err != nil {
		return err
	}
	var list struct {
		Blocks []struct {
			Country, Prefix, Reason string
			Since                   time.Time
		}
	}
	return show(cmd, answer, &list, func() printer {
		t := table{names: []string{"COUNTRY", "PREFIX", "SINCE", "REASON"}}
		for _, b := range list.Blocks {
			t.rows = append(t.rows, []string{b.Country, b.Prefix, when(b.Since), b.Reason})
		}
		return t
	})
}

// block is what the flags name.
func block(cmd *cobra.Command) (map[string]string, error) {
	in := map[string]string{}
	for _, name := range []string{"country", "prefix", "reason"} {
		if value := flag(cmd, name); value != "" {
			in[name] = value
		}
	}
	if (in["country"] == "") == (in["prefix"] == "") {
		return nil, usage("name --country or --prefix, and not both")
	}
	return in, nil
}

func addBlock(cmd *cobra.Command, _ []string) error {
	in, err := block(cmd)
	if err != nil {
		return err
	}
	return after(cmd, act(cmd, "blocks", in), "No more codes go there.")
}

func removeBlock(cmd *cobra.Command, _ []string) error {
	in, err := block(cmd)
	if err != nil {
		return err
	}
	return after(cmd, act(cmd, "blocks/remove", in), "Codes go there again.")
}
