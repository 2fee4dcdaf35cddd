package cli

import (
	"regexp"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

// commitPattern is what a commit looks like; everything else is taken for an image.
var commitPattern = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

func (a *app) where() *cobra.Command {
	return &cobra.Command{
		Use:   "where COMMIT | IMAGE | DIGEST",
		Short: "Show how far a commit or an image came at each cluster",
		Long: `Show how far a commit or an image came at each cluster.

A commit is live where the content of a Sync's folder is what that commit holds there, whatever commits came after it.
An image is found by what running pods report.`,
		Example: "  tandem where 3f9ac1d20b\n  tandem where ghcr.io/acme/api:1.4.2\n  tandem where sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.connected(func(conn *grpc.ClientConn) error {
				whole := &statusv1.WhereIsResponse{}
				err := pages(func(token string) (string, error) {
					resp, err := statusv1.NewStatusServiceClient(conn).WhereIs(cmd.Context(), whereRequest(args[0], token))
					whole.Locations = append(whole.Locations, resp.GetLocations()...)
					whole.Commit, whole.Digest = resp.GetCommit(), resp.GetDigest()
					return resp.GetNextPageToken(), err
				})
				if err != nil {
					return err
				}
				if a.format != formatTable {
					return a.machine(whole)
				}
				return table(a.out, "SYNC PRESENCE SINCE APPLIED WHY", locationRows(whole.GetLocations()))
			})
		},
	}
}

func whereRequest(subject, token string) *statusv1.WhereIsRequest {
	req := &statusv1.WhereIsRequest{PageSize: pageSize, PageToken: token}
	if commitPattern.MatchString(subject) {
		req.Subject = &statusv1.WhereIsRequest_Commit{Commit: subject}
	} else {
		req.Subject = &statusv1.WhereIsRequest_Image{Image: subject}
	}
	return req
}

func locationRows(locations []*statusv1.Location) [][]string {
	var rows [][]string
	for _, l := range locations {
		why := l.GetReason()
		if len(l.GetImages()) > 0 {
			why = orElse(why, imagesText(l.GetImages()))
		}
		rows = append(rows, []string{
			syncName(l.GetSync().GetCluster(), l.GetSync().GetNamespace(), l.GetSync().GetName()),
			word(l.GetPresence(), "PRESENCE_"), age(l.GetSince()), commitOf(l.GetApplied()), orElse(why, "-"),
		})
	}
	if len(rows) == 0 {
		rows = append(rows, []string{"-", "Nowhere", "-", "-", "No running pod of any Sync reports it."})
	}
	return rows
}
