package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
)

func (a *app) explain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say why something happened, or why it did not",
	}
	cmd.AddCommand(a.explainImage())
	return cmd
}

func (a *app) explainImage() *cobra.Command {
	req := &pipelinev1.ExplainImageRequest{}
	cmd := &cobra.Command{
		Use:     "image NAME | REPOSITORY",
		Short:   "Say which tag of an image was chosen, what dropped the others, and what each environment does with it",
		Example: "  tandem explain image api\n  tandem explain image ghcr.io/acme/api --tag 1.4.2",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Image = args[0]
			return a.connected(func(conn *grpc.ClientConn) error {
				resp, err := pipelinev1.NewPipelineServiceClient(conn).ExplainImage(cmd.Context(), req)
				if err != nil {
					return err
				}
				if a.format != formatTable {
					return a.machine(resp)
				}
				for i, explanation := range resp.GetExplanations() {
					if i > 0 {
						fmt.Fprintln(a.out)
					}
					if err := a.printExplanation(explanation); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&req.App, "app", "", "only this app")
	flags.StringVar(&req.Tag, "tag", "", "explain this tag in any case")
	flags.Int32Var(&req.Tags, "tags", 0, "how many tags to show (default 20)")
	return cmd
}

func (a *app) printExplanation(e *pipelinev1.ImageExplanation) error {
	image := e.GetImage()
	fmt.Fprintf(a.out, "%s of %s: %s\n", image.GetName(), e.GetApp(), image.GetRepository())
	fmt.Fprintf(a.out, "  policy     %s\n", image.GetPolicy())
	fmt.Fprintf(a.out, "  candidate  %s\n", candidateText(image))
	fmt.Fprintf(a.out, "  registry   %s\n", scanText(e))
	if p := e.GetProblem(); p != nil {
		fmt.Fprintf(a.out, "  problem    %s\n", p.GetMessage())
	}
	fmt.Fprintln(a.out)
	var rows [][]string
	for _, env := range e.GetEnvironments() {
		rows = append(rows, []string{env.GetName(), imagesText(env.GetImages()), orElse(env.GetReason(), "-")})
	}
	if err := table(a.out, "ENVIRONMENT RUNS NEXT", rows); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	rows = nil
	for _, tag := range e.GetTags() {
		rows = append(rows, []string{tag.GetTag(), keptText(tag.GetKept()), orElse(tag.GetRule(), "-"), orElse(tag.GetReason(), "-")})
	}
	return table(a.out, "TAG VERDICT RULE WHY", rows)
}

func candidateText(image *pipelinev1.PipelineImage) string {
	if image.GetCandidate() == nil {
		return "none"
	}
	return imageText(image.GetCandidate())
}

func scanText(e *pipelinev1.ImageExplanation) string {
	if e.GetImage().GetScanned() == nil {
		return "not asked yet"
	}
	return fmt.Sprintf("%d tags, asked %s ago", e.GetTagsSeen(), age(e.GetImage().GetScanned()))
}
