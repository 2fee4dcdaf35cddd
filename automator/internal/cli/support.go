package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/bundle"
	"github.com/tandem-cd/tandem/shared/doctor"
)

// bundleEvents is how many of the newest events a bundle has.
const bundleEvents = 500

func (a *app) support() *cobra.Command {
	cmd := &cobra.Command{Use: "support", Short: "Collect what somebody who helps needs to see"}
	cmd.AddCommand(a.supportBundle())
	return cmd
}

func (a *app) supportBundle() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Write what the automator answers into one file, without secrets",
		Long: `Write what the automator answers into one file, without secrets: what the doctor finds, clusters, Syncs, pipelines with
their problems, identities, and the newest events. What cannot be had is named in absent.txt, with the reason.

The file is at most some megabytes. Names of clusters, repositories, images and people are in it; look into it before you
hand it on. What is inside of a cluster is collected there: tandem-synchronizer support-bundle.`,
		Example: "  tandem support bundle\n  tandem support bundle --file - | tar tz",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out bytes.Buffer
			if err := a.collect(cmd.Context(), bundle.New(&out, "tandem-support", time.Now())); err != nil {
				return err
			}
			if file == "-" {
				_, err := a.out.Write(out.Bytes())
				return err
			}
			if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d KiB\n", file, out.Len()>>10)
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "file", "tandem-support.tar.gz", "where to write it; - is standard output")
	return cmd
}

// collect fills a bundle with what can be had.
func (a *app) collect(ctx context.Context, b *bundle.Bundle) error {
	to, err := a.connection.target()
	if err != nil {
		return err
	}
	visit := &clusterVisit{report: &doctor.Report{}}
	reached := visit.path(ctx, to)
	about := fmt.Sprintf("tandem %s\n%s %s/%s\n%s\n", Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, to.Address)
	return errors.Join(
		b.Add("version.txt", []byte(about)),
		a.answers(ctx, b, visit, reached),
		b.Collect("doctor.json", func() ([]byte, error) { return json.MarshalIndent(visit.report.Findings(), "", "  ") }),
		b.Close(),
	)
}

// answers adds what the automator answers.
func (a *app) answers(ctx context.Context, b *bundle.Bundle, visit *clusterVisit, reached bool) error {
	if !reached {
		return nil
	}
	return a.connected(func(conn *grpc.ClientConn) error {
		visit.automator(ctx, conn)
		status, pipelines, identities := statusv1.NewStatusServiceClient(conn), pipelinev1.NewPipelineServiceClient(conn), enrollmentv1.NewEnrollmentAdminServiceClient(conn)
		return errors.Join(
			answer(b, "clusters.json", func() (proto.Message, error) {
				return status.ListClusters(ctx, &statusv1.ListClustersRequest{PageSize: pageSize})
			}),
			answer(b, "syncs.json", func() (proto.Message, error) {
				return status.ListSyncs(ctx, &statusv1.ListSyncsRequest{PageSize: pageSize})
			}),
			answer(b, "events.json", func() (proto.Message, error) {
				return status.ListEvents(ctx, &statusv1.ListEventsRequest{PageSize: bundleEvents})
			}),
			answer(b, "pipelines.json", func() (proto.Message, error) {
				return pipelines.ListPipelines(ctx, &pipelinev1.ListPipelinesRequest{})
			}),
			answer(b, "identities.json", func() (proto.Message, error) {
				return identities.ListIdentities(ctx, &enrollmentv1.ListIdentitiesRequest{PageSize: pageSize})
			}),
		)
	})
}

func answer(b *bundle.Bundle, name string, ask func() (proto.Message, error)) error {
	return b.Collect(name, func() ([]byte, error) {
		message, err := ask()
		if err != nil {
			return nil, err
		}
		return marshal(message)
	})
}
