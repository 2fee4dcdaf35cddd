package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

func (a *app) watch() *cobra.Command {
	filter := &statusv1.EventFilter{}
	var since time.Duration
	var syncs bool
	cmd := &cobra.Command{
		Use:     "watch [CLUSTER]",
		Short:   "Follow releases as they happen: detected, committed, announced, applied, healthy",
		Example: "  tandem watch\n  tandem watch prod-eu --since 1h\n  tandem watch --syncs -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				filter.Cluster = args[0]
			}
			if since > 0 {
				filter.Since = timestamppb.New(time.Now().Add(-since))
			}
			return a.connected(func(conn *grpc.ClientConn) error {
				if syncs {
					return a.watchSyncs(cmd.Context(), conn, &statusv1.SyncFilter{Cluster: filter.GetCluster(), Namespace: filter.GetSyncNamespace(), Name: filter.GetSyncName()})
				}
				return a.watchEvents(cmd.Context(), conn, filter)
			})
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&since, "since", 0, "show what happened since then first, such as 1h")
	flags.BoolVar(&syncs, "syncs", false, "follow the state of Syncs instead of events")
	flags.StringVarP(&filter.SyncNamespace, "namespace", "n", "", "only Syncs of this namespace")
	flags.StringVar(&filter.SyncName, "name", "", "only Syncs of this name")
	flags.StringVar(&filter.Commit, "commit", "", "only this commit, in full")
	flags.StringVar(&filter.Digest, "digest", "", "only this image digest")
	return cmd
}

func (a *app) watchEvents(ctx context.Context, conn *grpc.ClientConn, filter *statusv1.EventFilter) error {
	stream, err := statusv1.NewStatusServiceClient(conn).WatchEvents(ctx, &statusv1.WatchEventsRequest{Filter: filter})
	if err != nil {
		return err
	}
	return each(ctx, stream.Recv, func(resp *statusv1.WatchEventsResponse) error {
		if a.format != formatTable {
			return a.machine(resp.GetEvent())
		}
		_, err := fmt.Fprintln(a.out, eventLine(resp.GetEvent()))
		return err
	})
}

// each calls fn with every message until the stream ends; an interrupt is a good end.
func each[M any](ctx context.Context, recv func() (M, error), fn func(M) error) error {
	for {
		message, err := recv()
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil //nolint:nilerr // an interrupt is how a watch ends
		}
		if err != nil {
			return err
		}
		if err := fn(message); err != nil {
			return err
		}
	}
}

func eventLine(e *statusv1.Event) string {
	about := e.GetApp()
	if e.GetEnvironment() != "" {
		about += "/" + e.GetEnvironment()
	}
	if e.GetCluster() != "" {
		about = e.GetCluster()
	}
	if e.GetSyncName() != "" {
		about = syncName(e.GetCluster(), e.GetSyncNamespace(), e.GetSyncName())
	}
	lines := []string{fmt.Sprintf("%s  %-9s  %-24s  %-12s  %s", e.GetTime().AsTime().Local().Format("15:04:05.000"),
		word(e.GetState(), "EVENT_STATE_"), orElse(about, "-"), commitOf(e.GetRevision()), e.GetMessage())}
	for _, p := range e.GetProblems() {
		lines = append(lines, fmt.Sprintf("              %s: %s", whereText(p), p.GetMessage()))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), " ")
}

func (a *app) watchSyncs(ctx context.Context, conn *grpc.ClientConn, filter *statusv1.SyncFilter) error {
	stream, err := statusv1.NewStatusServiceClient(conn).WatchSyncs(ctx, &statusv1.WatchSyncsRequest{Filter: filter})
	if err != nil {
		return err
	}
	return each(ctx, stream.Recv, func(resp *statusv1.WatchSyncsResponse) error {
		if a.format != formatTable {
			return a.machine(resp)
		}
		switch change := resp.GetChange().(type) {
		case *statusv1.WatchSyncsResponse_Sync:
			row := syncRows([]*statusv1.Sync{change.Sync})[0]
			_, err := fmt.Fprintln(a.out, strings.Join(row, "  "))
			return err
		case *statusv1.WatchSyncsResponse_Removed:
			_, err := fmt.Fprintln(a.out, syncName(change.Removed.GetCluster(), change.Removed.GetNamespace(), change.Removed.GetName())+"  gone")
			return err
		}
		return nil
	})
}
