package cli_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tandem-cd/tandem/automator/internal/cli"
	"github.com/tandem-cd/tandem/automator/internal/store/postgrestest"
	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/rpc/rpctest"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

const digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func TestMain(m *testing.M) {
	testscript.Main(postgrestest.Closing(m), map[string]func(){"tandem": func() {
		os.Exit(cli.Run(context.Background(), cli.New(os.Stdout), os.Stderr))
	}})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := "current: test\ncontexts:\n"
	for name, answers := range map[string]pipelines{"test": {}, "ill": {problems: ills()}} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		address, client := serve(t, filepath.Join(dir, name), answers)
		config += fmt.Sprintf("  %[1]s: {address: %q, ca: %[1]s/ca.crt, cert: %[1]s/%[3]s, key: %[1]s/%[4]s}\n",
			name, address, filepath.Base(client.Cert), filepath.Base(client.Key))
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("TANDEM_CONFIG", filepath.Join(dir, "config.yaml"))
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
	})
}

// serve answers from a fixed fleet over TLS on loopback.
func serve(t *testing.T, dir string, answers pipelines) (string, rpc.TLSFiles) {
	t.Helper()
	ca, err := rpctest.NewCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Server("server")
	if err != nil {
		t.Fatal(err)
	}
	tls, err := files.Server()
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.Client(rpc.Identity{Role: rpc.RoleUser, Name: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	log, _ := logtest.New(t)
	server := rpc.NewServer(rpc.ServerConfig{TLS: tls, Identify: rpc.FromCertificate, Log: log})
	statusv1.RegisterStatusServiceServer(server.GRPC, service(t))
	pipelinev1.RegisterPipelineServiceServer(server.GRPC, answers)
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(ctx, listener) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return listener.Addr().String(), client
}

func service(t *testing.T) *fleet.Service {
	t.Helper()
	commit, err := gitobject.ParseID("1234567890123456789012345678901234567890")
	if err != nil {
		t.Fatal(err)
	}
	content := revision.ContentID{1}
	stage := &statusv1.Stage{
		Revision: revision.ToProto(revision.Revision{Commit: commit, ContentID: content}),
		Time:     timestamppb.New(time.Now().Add(-3*time.Hour - time.Minute)),
	}
	state := fleet.New()
	state.PutCluster(&statusv1.Cluster{Name: "dev-eu", Connected: true, Since: stage.GetTime(), Version: "1.0"})
	healthy := &statusv1.Sync{
		Cluster: "dev-eu", Namespace: "shop", Name: "web", Path: "env/dev", State: statusv1.SyncState_SYNC_STATE_HEALTHY,
		Source: &revisionv1.Source{Repository: "deploy", Ref: "refs/heads/main"}, Applied: stage, Healthy: stage, HealthySince: stage.GetTime(),
		Objects: &statusv1.ObjectCounts{Total: 3, Current: 3},
		Images:  []*revisionv1.Image{{Repository: "registry.test/web", Tag: "1.4.2", Digest: digest}},
	}
	refused := &statusv1.Sync{
		Cluster: "dev-eu", Namespace: "shop", Name: "db", Path: "env/db", State: statusv1.SyncState_SYNC_STATE_REFUSED,
		Source: &revisionv1.Source{Repository: "deploy", Ref: "refs/heads/main"},
		Problems: []*statusv1.Problem{{
			Kind: statusv1.ProblemKind_PROBLEM_KIND_VERIFY, File: "env/db/db.yaml", Line: 7, Commit: revision.ObjectToProto(commit),
			Message: "An automation may only change images.",
		}},
	}
	observing := &statusv1.Sync{
		Cluster: "dev-eu", Namespace: "shop", Name: "old", Path: "env/old", State: statusv1.SyncState_SYNC_STATE_OBSERVING,
		Source: healthy.GetSource(), Objects: &statusv1.ObjectCounts{Total: 9, Current: 9},
		Observation: &statusv1.Observation{
			Adopt: 1, Prune: 1, Create: 5, Equal: 2, ChangesOmitted: 5,
			Changes: []*statusv1.ObservedChange{
				{Object: "Deployment/shop/old", Action: "adopt", Reason: "it is there, written by helm", Fields: []string{"spec.replicas"}, FieldsOmitted: 2, File: "env/old/web.yaml", Line: 4},
				{Object: "ConfigMap/shop/gone", Action: "prune", Reason: "it is gone from Git"},
			},
		},
	}
	for _, status := range []*statusv1.Sync{healthy, refused, observing} {
		if err := state.Put(status); err != nil {
			t.Fatal(err)
		}
	}
	return &fleet.Service{State: state, Events: fleet.NewRecent(1), Contents: contents{commit, content}, Asker: asker{stage.GetTime()}}
}

// asker answers as cluster dev-eu would.
type asker struct{ since *timestamppb.Timestamp }

func (a asker) Ask(_ context.Context, req *statusv1.AskRequest, each func(*statusv1.AskResponse) error) error {
	if req.GetSync().GetName() != "web" {
		return fault.New(fault.NotFound, "there is no Sync %s/%s", req.GetSync().GetNamespace(), req.GetSync().GetName())
	}
	parts := a.tree()
	switch {
	case req.GetEvents() != nil:
		parts = a.events()
	case req.GetDiff() != nil:
		parts = a.diff(req.GetDiff().GetCommit())
	}
	for _, part := range parts {
		if err := each(part); err != nil {
			return err
		}
	}
	return nil
}

func (a asker) tree() (parts []*statusv1.AskResponse) {
	for _, node := range []*statusv1.TreeNode{
		{Object: "ConfigMap/shop/web", Health: "NotFound", Message: "The Sync applied it, and it is not there."},
		{Object: "Deployment/shop/web", Health: "InProgress", Message: "1 of 2\nreplicas"},
		{Object: "ReplicaSet/shop/web-1", Owner: "Deployment/shop/web", Health: "Current", Created: a.since},
		{Object: "Pod/shop/web-1-a", Owner: "ReplicaSet/shop/web-1", Health: "Current", Created: a.since},
		{Object: "ReplicaSet/shop/web-2", Owner: "Deployment/shop/web", Health: "Current", Created: a.since},
	} {
		parts = append(parts, &statusv1.AskResponse{Part: &statusv1.AskResponse_Node{Node: node}})
	}
	omission := &statusv1.Omission{What: "endpointslices in namespace shop", Reason: "the synchronizer may not list them"}
	return append(parts, &statusv1.AskResponse{Part: &statusv1.AskResponse_Omission{Omission: omission}})
}

// broken is a commit of which a file cannot be read, and endless one whose differences are too many for an answer.
const (
	broken  = "2222222222222222222222222222222222222222"
	endless = "3333333333333333333333333333333333333333"
)

// diff has differences for a commit, and none for drift.
func (a asker) diff(commit string) (parts []*statusv1.AskResponse) {
	summary := &statusv1.DiffSummary{Equal: 2}
	switch commit {
	case broken:
		summary.Problems = []*statusv1.Problem{{File: "env/dev/bad.yaml", Line: 2, Message: "not YAML"}}
		return []*statusv1.AskResponse{{Part: &statusv1.AskResponse_Summary{Summary: summary}}}
	case endless:
		return []*statusv1.AskResponse{{Part: &statusv1.AskResponse_Omission{Omission: &statusv1.Omission{What: "the rest of the answer", Reason: "it is too large"}}}}
	}
	if id, err := gitobject.ParseID(commit); err == nil {
		summary.Commit, summary.Different = revision.ObjectToProto(id), 2
		summary.Refusal = &statusv1.Problem{Message: "It is not signed.", Commit: summary.GetCommit()}
		summary.Problems = []*statusv1.Problem{{File: "env/dev/bad.yaml", Line: 2, Message: "not YAML"}}
		for _, entry := range []*statusv1.DiffEntry{
			{
				Object: "ConfigMap/shop/web", Action: "update", Reason: "Git says something else", File: "env/dev/web.yaml", Line: 3,
				Diff: "@@ -1 +1 @@\n-greeting: hello\n+greeting: \x1b[31mhi\n", Warnings: []string{"a warning"},
			},
			{Object: "Service/shop/old", Action: "prune", Reason: "it is gone from Git", Held: true},
		} {
			parts = append(parts, &statusv1.AskResponse{Part: &statusv1.AskResponse_Diff{Diff: entry}})
		}
	}
	return append(parts, &statusv1.AskResponse{Part: &statusv1.AskResponse_Summary{Summary: summary}})
}

func (a asker) events() (parts []*statusv1.AskResponse) {
	for _, event := range []*statusv1.ObjectEvent{
		{Object: "Pod/shop/web-1-a", Type: "Normal", Reason: "Pulled", Message: "pulled \x1b[31mit", Count: 3, Time: a.since},
		{Object: "Sync/shop/web", Type: "Warning", Reason: "Failed", Count: 1, Time: a.since},
	} {
		parts = append(parts, &statusv1.AskResponse{Part: &statusv1.AskResponse_Event{Event: event}})
	}
	return parts
}

type contents struct {
	commit  gitobject.ID
	content revision.ContentID
}

func (c contents) ResolveCommit(context.Context, string, string) (gitobject.ID, error) {
	return c.commit, nil
}

func (c contents) ContentAt(context.Context, string, gitobject.ID, []string) (revision.ContentID, error) {
	return c.content, nil
}

// pipelines answers with one fixed pipeline, and more problems.
type pipelines struct {
	pipelinev1.UnimplementedPipelineServiceServer

	problems []*statusv1.Problem
}

// ills are what is wrong with the automator itself.
func ills() []*statusv1.Problem {
	return []*statusv1.Problem{
		{Kind: statusv1.ProblemKind_PROBLEM_KIND_STORE, Message: "no events are stored since 2026-01-02T03:04:05Z: the disk is full"},
		{Kind: statusv1.ProblemKind_PROBLEM_KIND_CREDENTIALS, Message: "Vault is sealed"},
	}
}

func (pipelines) image() *pipelinev1.PipelineImage {
	return &pipelinev1.PipelineImage{
		Name: "web", Repository: "registry.test/web", Policy: "semver >=1.0.0", Scanned: timestamppb.Now(),
		Candidate: &revisionv1.Image{Repository: "registry.test/web", Tag: "1.4.2", Digest: digest},
	}
}

func (p pipelines) environment() *pipelinev1.Environment {
	return &pipelinev1.Environment{
		Name: "dev", Cluster: "dev-eu", Path: "env/dev", Reason: "runs the newest release",
		Images: []*revisionv1.Image{p.image().GetCandidate()},
	}
}

func (p pipelines) ListPipelines(context.Context, *pipelinev1.ListPipelinesRequest) (*pipelinev1.ListPipelinesResponse, error) {
	return &pipelinev1.ListPipelinesResponse{
		Pipelines: []*pipelinev1.Pipeline{{
			App: "shop", Images: []*pipelinev1.PipelineImage{p.image()}, Environments: []*pipelinev1.Environment{p.environment()},
		}},
		Problems: append(p.problems, &statusv1.Problem{
			Kind: statusv1.ProblemKind_PROBLEM_KIND_CONFIG, File: ".tandem/other.yaml", Line: 3, Message: `Unknown key "imgaes".`,
		}),
	}, nil
}

func (p pipelines) ExplainImage(context.Context, *pipelinev1.ExplainImageRequest) (*pipelinev1.ExplainImageResponse, error) {
	return &pipelinev1.ExplainImageResponse{Explanations: []*pipelinev1.ImageExplanation{{
		App: "shop", Image: p.image(), TagsSeen: 2, Environments: []*pipelinev1.Environment{p.environment()},
		Tags: []*pipelinev1.TagVerdict{{Tag: "1.4.2", Kept: true, Rule: "newest"}, {Tag: "2.0.0-rc1", Rule: "pre-release", Reason: "the range has none"}},
	}}}, nil
}
