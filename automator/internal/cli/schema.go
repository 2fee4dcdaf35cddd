package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
)

func (a *app) schema() *cobra.Command {
	schemas := map[string]string{"pipeline": pipeline.PipelineSchema, "clusters": pipeline.ClustersSchema}
	names := slices.Sorted(maps.Keys(schemas))
	return &cobra.Command{
		Use:   "schema " + strings.Join(names, "|"),
		Short: "Print the JSON schema of a file in .tandem, for editors",
		Long: `Print the JSON schema of a file in .tandem, for editors that complete and check YAML by it.
It knows the keys and their forms; how they go together knows the automator (tandem status lists problems).`,
		Example: `  tandem schema pipeline > pipeline.schema.json
  # then, as the first line of .tandem/shop.yaml:
  # yaml-language-server: $schema=../pipeline.schema.json`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: names,
		RunE: func(_ *cobra.Command, args []string) error {
			_, err := fmt.Fprint(a.out, schemas[args[0]])
			return err
		},
	}
}
