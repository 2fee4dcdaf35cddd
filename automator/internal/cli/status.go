package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/revision"
)

// pageSize is how much is asked for at a time.
const pageSize = 500

// overview is everything that `tandem status` shows.
type overview struct {
	clusters  []*statusv1.Cluster
	syncs     []*statusv1.Sync
	pipelines []*pipelinev1.Pipeline
	problems  []*statusv1.Problem
}

func (a *app) status() *cobra.Command {
	filter := &statusv1.SyncFilter{}
	cmd := &cobra.Command{
		Use:   "status [CLUSTER]",
		Short: "Show clusters, Syncs, pipelines, and what is wrong with them",
		Long: `Show clusters, Syncs, pipelines, and what is wrong with them.

Everything that needs attention stands under PROBLEMS, with the file and line, commit or object it is about. What a Sync in
mode observe would change stands under OBSERVED.`,
		Example: "  tandem status\n  tandem status prod-eu --namespace shop\n  tandem status -o json | jq '.syncs[] | select(.state != \"SYNC_STATE_HEALTHY\")'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				filter.Cluster = args[0]
			}
			return a.connected(func(conn *grpc.ClientConn) error {
				view, err := gather(cmd.Context(), conn, filter)
				if err != nil {
					return err
				}
				return a.printOverview(view)
			})
		},
	}
	cmd.Flags().StringVarP(&filter.Namespace, "namespace", "n", "", "only Syncs of this namespace")
	cmd.Flags().StringVar(&filter.Name, "name", "", "only Syncs of this name")
	return cmd
}

// connected runs fn with a connection.
func (a *app) connected(fn func(*grpc.ClientConn) error) error {
	conn, err := a.connection.dial()
	if err != nil {
		return err
	}
	return errors.Join(fn(conn), conn.Close())
}

func gather(ctx context.Context, conn *grpc.ClientConn, filter *statusv1.SyncFilter) (*overview, error) {
	view := &overview{}
	api := statusv1.NewStatusServiceClient(conn)
	err := pages(func(token string) (string, error) {
		resp, err := api.ListClusters(ctx, &statusv1.ListClustersRequest{PageSize: pageSize, PageToken: token})
		for _, c := range resp.GetClusters() {
			if filter.GetCluster() == "" || c.GetName() == filter.GetCluster() {
				view.clusters = append(view.clusters, c)
			}
		}
		return resp.GetNextPageToken(), err
	})
	if err != nil {
		return nil, err
	}
	err = pages(func(token string) (string, error) {
		resp, err := api.ListSyncs(ctx, &statusv1.ListSyncsRequest{Filter: filter, PageSize: pageSize, PageToken: token})
		view.syncs = append(view.syncs, resp.GetSyncs()...)
		return resp.GetNextPageToken(), err
	})
	if err != nil {
		return nil, err
	}
	return view, view.addPipelines(ctx, conn)
}

// addPipelines asks for pipelines; a synchronizer has none and does not know the question.
func (v *overview) addPipelines(ctx context.Context, conn *grpc.ClientConn) error {
	api := pipelinev1.NewPipelineServiceClient(conn)
	err := pages(func(token string) (string, error) {
		resp, err := api.ListPipelines(ctx, &pipelinev1.ListPipelinesRequest{PageSize: pageSize, PageToken: token})
		v.pipelines = append(v.pipelines, resp.GetPipelines()...)
		if token == "" {
			v.problems = resp.GetProblems()
		}
		return resp.GetNextPageToken(), err
	})
	if status.Code(err) == codes.Unimplemented {
		return nil
	}
	return err
}

// pages calls fn with one page token after the other.
func pages(fn func(token string) (next string, err error)) error {
	token := ""
	for {
		next, err := fn(token)
		if err != nil || next == "" {
			return err
		}
		token = next
	}
}

func (a *app) printOverview(v *overview) error {
	if a.format != formatTable {
		return a.printOverviewRaw(v)
	}
	sections := []struct {
		header string
		rows   [][]string
	}{
		{"CLUSTER CONNECTED SINCE SYNCS VERSION", clusterRows(v.clusters)},
		{"SYNC STATE APPLIED HEALTHY-FOR OBJECTS PATH", syncRows(v.syncs)},
		{"OBSERVED WOULD OBJECT WHERE WHY", observedRows(v.syncs)},
		{"APP ENVIRONMENT CLUSTER RUNS NEXT", pipelineRows(v.pipelines)},
		{"PROBLEMS-OF WHERE WHAT", problemRows(v)},
	}
	shown := 0
	for _, section := range sections {
		if len(section.rows) == 0 {
			continue
		}
		if shown > 0 {
			fmt.Fprintln(a.out)
		}
		shown++
		if err := table(a.out, section.header, section.rows); err != nil {
			return err
		}
	}
	if shown == 0 {
		fmt.Fprintln(a.out, "Nothing yet: no cluster is granted anything and no pipeline was found.")
	}
	return nil
}

func (a *app) printOverviewRaw(v *overview) error {
	return a.rawLists(map[string][]proto.Message{
		"clusters": asMessages(v.clusters), "syncs": asMessages(v.syncs),
		"pipelines": asMessages(v.pipelines), "problems": asMessages(v.problems),
	})
}

func asMessages[M proto.Message](in []M) []proto.Message {
	out := make([]proto.Message, 0, len(in))
	for _, m := range in {
		out = append(out, m)
	}
	return out
}

func clusterRows(clusters []*statusv1.Cluster) [][]string {
	var rows [][]string
	for _, c := range clusters {
		connected := "no"
		if c.GetConnected() {
			connected = "yes"
		}
		rows = append(rows, []string{c.GetName(), connected, age(c.GetSince()), fmt.Sprint(c.GetSyncs()), orElse(c.GetVersion(), "-")})
	}
	return rows
}

func syncRows(syncs []*statusv1.Sync) [][]string {
	var rows [][]string
	for _, s := range syncs {
		o := s.GetObjects()
		rows = append(rows, []string{
			syncName(s.GetCluster(), s.GetNamespace(), s.GetName()), word(s.GetState(), "SYNC_STATE_"),
			commitOf(s.GetApplied().GetRevision()), age(s.GetHealthySince()),
			fmt.Sprintf("%d/%d", o.GetCurrent(), o.GetTotal()), s.GetPath(),
		})
	}
	return rows
}

// observedRows are what Syncs that only observe would change.
func observedRows(syncs []*statusv1.Sync) [][]string {
	var rows [][]string
	for _, s := range syncs {
		o := s.GetObservation()
		if o == nil {
			continue
		}
		name := syncName(s.GetCluster(), s.GetNamespace(), s.GetName())
		for _, c := range o.GetChanges() {
			rows = append(rows, []string{name, c.GetAction(), c.GetObject(), placeText(c.GetFile(), c.GetLine()), changeText(c)})
		}
		if n := o.GetChangesOmitted(); n > 0 {
			rows = append(rows, []string{name, "-", fmt.Sprintf("and %d more", n), "-", "-"})
		}
		rows = append(rows, []string{name, "nothing", fmt.Sprintf("%d objects", o.GetEqual()), "-", "as Git says"})
	}
	return rows
}

func placeText(file string, line int32) string {
	switch {
	case file == "":
		return "-"
	case line == 0:
		return file
	default:
		return fmt.Sprintf("%s:%d", file, line)
	}
}

func changeText(c *statusv1.ObservedChange) string {
	text := c.GetReason()
	if fields := c.GetFields(); len(fields) > 0 {
		text += ": " + strings.Join(fields, ", ")
	}
	if n := c.GetFieldsOmitted(); n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return orElse(text, "-")
}

func syncName(cluster, namespace, name string) string {
	return cluster + "/" + namespace + "/" + name
}

func pipelineRows(pipelines []*pipelinev1.Pipeline) [][]string {
	var rows [][]string
	for _, p := range pipelines {
		for _, env := range p.GetEnvironments() {
			rows = append(rows, []string{p.GetApp(), environmentName(p, env), env.GetCluster(), imagesText(env.GetImages()), orElse(env.GetReason(), "-")})
		}
	}
	return rows
}

// environmentName is an environment with its branch, if that is another one than that of the pipeline.
func environmentName(p *pipelinev1.Pipeline, e *pipelinev1.Environment) string {
	if e.GetRef() == "" || e.GetRef() == p.GetRef() {
		return e.GetName()
	}
	return e.GetName() + "@" + revision.BranchOf(e.GetRef())
}

func imagesText(images []*revisionv1.Image) string {
	texts := make([]string, 0, len(images))
	for _, image := range images {
		texts = append(texts, imageText(image))
	}
	return orElse(strings.Join(texts, " "), "-")
}

func problemRows(v *overview) [][]string {
	var rows [][]string
	for _, p := range v.problems {
		rows = append(rows, []string{word(p.GetKind(), "PROBLEM_KIND_"), whereText(p), p.GetMessage()})
	}
	for _, s := range v.syncs {
		name := syncName(s.GetCluster(), s.GetNamespace(), s.GetName())
		for _, p := range s.GetProblems() {
			rows = append(rows, []string{name, whereText(p), p.GetMessage()})
		}
		if n := s.GetProblemsOmitted(); n > 0 {
			rows = append(rows, []string{name, "-", fmt.Sprintf("and %d more", n)})
		}
	}
	return rows
}
