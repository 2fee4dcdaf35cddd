package synchronizer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/semaphore"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/converge"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/objects"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/preview"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
	"github.com/tandem-cd/tandem/synchronizer/internal/serve"
	"github.com/tandem-cd/tandem/synchronizer/internal/tenancy"
	"github.com/tandem-cd/tandem/synchronizer/internal/trust"
)

// upstream is a repository with a line of commits, each with one ConfigMap, of which the cluster may hold some.
type upstream struct {
	t       *testing.T
	commits []gitobject.ID
	objects map[gitobject.ID][]stored // by commit
	asked   []string                  // what was brought
}

type stored struct {
	id      gitobject.ID
	kind    gitobject.Type
	content []byte
}

func (u *upstream) commit(value string) gitobject.ID {
	u.t.Helper()
	var all []stored
	put := func(kind gitobject.Type, content []byte) gitobject.ID {
		id, err := gitobject.Hash(gitobject.SHA1, kind, content)
		if err != nil {
			u.t.Fatal(err)
		}
		all = append(all, stored{id, kind, content})
		return id
	}
	blob := put(gitobject.TypeBlob, fmt.Appendf(nil, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {value: %q}}", value))
	tree := put(gitobject.TypeTree, gitobject.Tree{{Mode: gitobject.ModeFile, Name: "a.yaml", ID: blob}}.Encode())
	root := put(gitobject.TypeTree, gitobject.Tree{{Mode: gitobject.ModeDir, Name: "env", ID: tree}}.Encode())
	who := gitobject.Person{Name: "a", Email: "a@b", When: time.Unix(1, 0)}
	commit := &gitobject.Commit{Tree: root, Author: who, Committer: who, Message: value}
	if n := len(u.commits); n > 0 {
		commit.Parents = []gitobject.ID{u.commits[n-1]}
	}
	id := put(gitobject.TypeCommit, commit.Encode())
	u.commits = append(u.commits, id)
	u.objects[id] = all
	return id
}

// put puts what a commit has into a store.
func (u *upstream) put(into relay.Objects, commit gitobject.ID) {
	for _, o := range u.objects[commit] {
		if err := into.Put(o.id, o.kind, o.content); err != nil {
			u.t.Error(err)
		}
	}
}

func (u *upstream) Bring(_ context.Context, into relay.Objects, _ revision.Source, base, commit gitobject.ID, _ []string) (relay.Chain, error) { //nolint:revive // as the real one
	from, to := slices.Index(u.commits, base), slices.Index(u.commits, commit)
	u.asked = append(u.asked, fmt.Sprintf("%d from %d", to, from))
	if u.objects[commit] == nil {
		return relay.Chain{}, fault.New(fault.NotFound, "no such commit")
	}
	chain := relay.Chain{Base: base, Commits: u.commits[from+1 : to+1]}
	if from < 0 || u.objects[base] == nil {
		chain.Commits, chain.Rewritten = []gitobject.ID{commit}, !base.IsZero()
	}
	for _, id := range chain.Commits {
		u.put(into, id)
	}
	return chain, nil
}

// bare is a cluster without objects.
type bare struct{}

func (bare) Get(object.Key) (live.Record, bool) { return live.Record{}, false }
func (bare) Owned(string) []live.Record         { return nil }

func (bare) Try(_ context.Context, _ apply.Identity, _ string, step plan.Step) apply.Trial {
	return apply.Trial{Step: step, After: step.Desired.Object}
}

func (bare) Load(context.Context, *v1alpha1.Sync) (map[object.Key]inventory.Entry, error) {
	return nil, nil
}

func (bare) ServerGroupsAndResourcesWithContext(context.Context) ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	return nil, []*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{{Name: "configmaps", Kind: "ConfigMap", Namespaced: true}}}}, nil
}

func TestADiffFetchesWhatIsNotHeld(t *testing.T) {
	t.Parallel()
	const none = -1
	cases := map[string]struct {
		reason        string
		base, applied int // of the commits 0 to 2
		asked         int
		held          []int
		gone          []int // which the repository has no more
		want          []string
		refused       bool
		fails         fault.Kind
	}{
		"Held":          {reason: "What is applied and held costs nothing.", base: 1, applied: 1, asked: none, held: []int{1}},
		"Applied":       {reason: "It was lost, and comes as a whole.", base: 1, applied: 1, asked: none, want: []string{"1 from -1"}},
		"Ahead":         {reason: "The way from the base is fetched.", base: 1, applied: 1, asked: 2, held: []int{1}, want: []string{"2 from 1"}},
		"BaseLost":      {reason: "The base is fetched first.", base: 1, applied: 1, asked: 2, want: []string{"1 from -1", "2 from 1"}},
		"BaseGone":      {reason: "Nobody has it: the way is refused and the difference shown.", base: 1, applied: 1, asked: 2, gone: []int{1}, want: []string{"1 from -1", "2 from 1"}, refused: true},
		"FirstContact":  {reason: "Nothing was verified yet.", base: none, applied: none, asked: 2, want: []string{"2 from -1"}},
		"NothingToShow": {reason: "Nothing is applied and no commit named.", base: none, applied: none, asked: none, fails: fault.Stale},
		"Unknown":       {reason: "A commit that nobody has.", base: 1, applied: 1, asked: 2, held: []int{1}, gone: []int{2}, want: []string{"2 from 1"}, fails: fault.NotFound},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := &upstream{t: t, objects: map[gitobject.ID][]stored{}}
			for _, value := range []string{"zero", "one", "two"} {
				u.commit(value)
			}
			id := func(i int) (commit gitobject.ID) {
				if i != none {
					commit = u.commits[i]
				}
				return commit
			}
			store, err := objects.Open(t.TempDir() + "/objects")
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range tc.held {
				u.put(store, id(i))
			}
			for _, i := range tc.gone {
				delete(u.objects, id(i))
			}
			parts, err := ask(t, u, store, converge.Standing{Base: id(tc.base), Applied: id(tc.applied)}, id(tc.asked))
			if diff := cmp.Diff(tc.want, u.asked); diff != "" {
				t.Errorf("%s\nbrought: -want, +got:\n%s", tc.reason, diff)
			}
			if tc.fails != 0 {
				if !fault.Is(err, tc.fails) {
					t.Errorf("%s\ngot %v, want %v", tc.reason, err, tc.fails)
				}
				return
			}
			if err != nil || len(parts) != 2 || parts[0].GetDiff().GetObject() != "ConfigMap/shop/a" || (parts[1].GetSummary().GetRefusal() != nil) != tc.refused {
				t.Errorf("%s\ngot %v, %v", tc.reason, parts, err)
			}
		})
	}
}

// ask asks what a commit would change.
func ask(t *testing.T, u *upstream, store *objects.Store, at converge.Standing, commit gitobject.ID) (parts []*statusv1.AskResponse, err error) {
	t.Helper()
	policy, err := trust.NewPolicy(trust.Config{Mode: trust.Relay})
	rules := tenancy.Rules{}
	if err := errors.Join(err, rules.Validate()); err != nil {
		t.Fatal(err)
	}
	at.Sync, at.Paths = &v1alpha1.Sync{}, []string{"env"}
	at.Sync.Namespace, at.Sync.Name, at.Sync.Spec.Path = "shop", "web", "env"
	if !at.Base.IsZero() {
		at.Sync.Status.Verified = &v1alpha1.Stage{Commit: at.Base.String()}
	}
	d := &differ{
		stands:   func(string, string) (converge.Standing, error) { return at, nil },
		unlisted: func(string) []live.Unlisted { return nil },
		policy:   policy, trees: renderer{store: store, mapper: live.NewMapper(bare{}), rules: rules}, relay: u, inventory: bare{},
		deps:   preview.Deps{Live: bare{}, Applier: bare{}, Exists: func(string) bool { return false }},
		places: semaphore.NewWeighted(1),
	}
	err = d.answer(t.Context(), serve.Question{Kind: serve.Diff, Commit: commit}, func(part *statusv1.AskResponse) error {
		parts = append(parts, part)
		return nil
	})
	return parts, err
}
