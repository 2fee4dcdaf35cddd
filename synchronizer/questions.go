package synchronizer

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/shard"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/lease"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
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
		Inventory: inventories{shards.New(client, zap.NewNop())}, // not the loop's, which remembers what it wrote
	}
	diffs.stands, diffs.unlisted, diffs.inventory, diffs.places = s.loop.Stands, s.live.Unlisted, look.Inventory, semaphore.NewWeighted(maxDiffs)
	s.answers = serve.NewAnswers(map[serve.Kind]serve.Answer{serve.Tree: s.ownOnly(look.Tree), serve.Events: s.ownOnly(look.Events), serve.Diff: s.ownOnly(diffs.answer)})
	s.serve = serve.New(serve.Config{Hello: s.hello(), Offers: s.cfg.Queries, Metrics: s.metrics}, s.link, s.answers, s.log)
}

// ownOnly answers about Syncs that this replica works for, and says of others who does.
func (s *Synchronizer) ownOnly(answer serve.Answer) serve.Answer {
	return func(ctx context.Context, asked serve.Question, each serve.Each) error {
		if !s.loop.Elsewhere(asked.Namespace, asked.Name) {
			return answer(ctx, asked, each)
		}
		of := s.part()
		of.Index = shard.Of(asked.Namespace, asked.Name, of.Count)
		return fault.New(fault.Stale, "another replica of the synchronizer works for the Sync %s/%s, that of shard %s (the Lease %s names its Pod); ask again, until that one answers",
			asked.Namespace, asked.Name, of, lease.Name(s.cfg.Lease.Name, of.Index))
	}
}

// inventories reads what Syncs own, and remembers nothing of it.
type inventories struct{ *shards.Store }

// Load reads the inventory of a Sync.
func (i inventories) Load(ctx context.Context, sync *v1alpha1.Sync) (map[object.Key]inventory.Entry, error) {
	defer i.Forget(sync.UID)
	return i.Store.Load(ctx, sync)
}

// readTimeout is how long a caller within the cluster may take to read a part of an answer.
const readTimeout = 30 * time.Second

// asker answers callers within the cluster.
type asker struct {
	cluster string
	answers *serve.Answers
	// ready reports why this replica knows nothing of any Sync.
	ready func() error
	// contents reports whether the caller may see contents of objects, which no status shows.
	contents func(ctx context.Context, namespace string) error
}

// Ask answers a question about a Sync of this cluster.
func (a asker) Ask(ctx context.Context, req *statusv1.AskRequest, each func(*statusv1.AskResponse) error) error {
	sync := req.GetSync()
	if sync.GetCluster() != a.cluster {
		return fault.New(fault.NotFound, "this is cluster %q, not %q", a.cluster, sync.GetCluster())
	}
	if err := a.ready(); err != nil {
		return err
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
	return a.answers.Answer(ctx, asked, func(part *statusv1.AskResponse) error {
		hangup := time.AfterFunc(readTimeout, func() { rpc.Hangup(ctx) }) // others wait for the place
		defer hangup.Stop()
		return each(part)
	})
}

// looks reports why this replica has nothing to answer from.
func (s *Synchronizer) looks() error {
	if !s.leads() {
		return fault.New(fault.Stale, "this replica of the synchronizer stands by and looks at nothing; ask again, until the one that works answers (the Lease names its Pod)")
	}
	select {
	case <-s.loop.Listed():
		return nil
	default:
		return fault.New(fault.Stale, "this synchronizer has just begun and has no list of Syncs yet; ask again in a moment")
	}
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
