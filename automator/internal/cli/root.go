// Package cli is the command line `tandem`: a gRPC client of both agents that holds no cluster credential.
package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Version is the CLI's version; the linker sets it for releases.
var Version = "dev" //nolint:gochecknoglobals // the linker can only set a variable

// app is what the commands share.
type app struct {
	out        io.Writer
	format     string
	connection connection
}

// New returns the root command. Everything it prints goes to out.
func New(out io.Writer) *cobra.Command {
	a := &app{out: out}
	root := &cobra.Command{
		Use:   "tandem",
		Short: "See what runs where, since when, and why",
		Long: `tandem asks Tandem's agents what runs where, since when, and why.

It talks to the automator for the whole fleet, or to one cluster's synchronizer. Where to connect
comes from flags, else from the current context of ~/.config/tandem/config.yaml (or $TANDEM_CONFIG):

  current: prod
  contexts:
    prod: {address: automator.example.com:9443, ca: ca.crt, cert: ann.crt, key: ann.key}`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       Version,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.format == formatText {
				a.format = formatTable
			}
			return checkFormat(a.format)
		},
	}
	root.SetOut(out)
	flags := root.PersistentFlags()
	flags.StringVarP(&a.format, "output", "o", formatTable, "how to print: table (or text), json or yaml")
	a.connection.register(flags)
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{formatTable, formatJSON, formatYAML}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(a.status(), a.where(), a.watch(), a.tree(), a.events(), a.diff(), a.explain(), a.importer(), a.cluster(), a.ca(), a.backup(), a.restore(), a.policy(), a.schema(), a.support())
	return root
}

func checkFormat(format string) error {
	switch format {
	case formatTable, formatJSON, formatYAML:
		return nil
	}
	return fmt.Errorf("--output %q is not one of table, json, yaml", format)
}
