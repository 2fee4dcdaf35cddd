package synchronizer

import (
	"context"
	"slices"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
	"github.com/tandem-cd/tandem/synchronizer/internal/serve"
	"github.com/tandem-cd/tandem/synchronizer/internal/shards"
	"github.com/tandem-cd/tandem/synchronizer/internal/survey"
)

// openQuestions prepares the answers to people's questions. The differ lacks only what others know.
func (s *Synchronizer) openQuestions(client dynamic.Interface, judge *health.Judge, diffs *differ) {
	look := &survey.Survey{
		Sync: s.loop.Sync, Live: s.live, Health: judge.Of,
		List: func(ctx context.Context, resource schema.GroupVersionResource, namespace string, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
			return client.Resource(resource).Namespace(namespace).List(ctx, options)
		},
		Inventory: shards.New(client, zap.NewNop()), // it remembers what it read, which must not mix with what the loop writes
	}
	diffs.stands, diffs.inventory, diffs.places = s.loop.Stands, look.Inventory, semaphore.NewWeighted(maxDiffs)
	s.answers = serve.NewAnswers(map[serve.Kind]serve.Answer{serve.Tree: look.Tree, serve.Events: look.Events, serve.Diff: diffs.answer})
	hello := &relayv1.Hello{Cluster: s.cfg.Cluster, Replica: s.replica(), Protocol: relay.Protocol, Version: Version}
	s.serve = serve.New(serve.Config{Hello: hello, Offers: s.cfg.Queries, Metrics: s.metrics}, s.link, s.answers, s.log)
}

// asker answers callers within the cluster.
type asker struct {
	cluster string
	answers *serve.Answers
	// contents reports whether the caller may see contents of objects, which no status shows.
	contents func(ctx context.Context, namespace string) error
}

// Ask answers a question about a Sync of this cluster.
func (a asker) Ask(ctx context.Context, req *statusv1.AskRequest, each func(*statusv1.AskResponse) error) error {
	sync := req.GetSync()
	if sync.GetCluster() != a.cluster {
		return fault.New(fault.NotFound, "this is cluster %q, not %q", a.cluster, sync.GetCluster())
	}
	asked := serve.Question{Namespace: sync.GetNamespace(), Name: sync.GetName()}
	switch req.GetQuestion().(type) {
	case *statusv1.AskRequest_Tree:
		asked.Kind = serve.Tree
	case *statusv1.AskRequest_Events:
		asked.Kind = serve.Events
	case *statusv1.AskRequest_Diff:
		asked.Kind = serve.Diff
		if err := a.contents(ctx, asked.Namespace); err != nil {
			return err
		}
		if commit := req.GetDiff().GetCommit(); commit != "" {
			var err error
			if asked.Commit, err = gitobject.ParseID(commit); err != nil {
				return fault.New(fault.Invalid, "the synchronizer resolves no abbreviations; give the full commit, or ask the automator")
			}
		}
	}
	return a.answers.Answer(ctx, asked, each)
}

// defaultQueries are the questions that the automator may have answered when the configuration does not say: those whose
// answers hold no content of objects.
func defaultQueries() []serve.Kind { return []serve.Kind{serve.Events, serve.Tree} }

// validateQueries checks which questions may be answered.
func (c *Config) validateQueries() error {
	if c.Queries == nil {
		c.Queries = defaultQueries()
	}
	slices.Sort(c.Queries)
	return serve.CheckKinds(c.Queries)
}
