package converge

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
)

// allBut has a replica work for every Sync but one.
func allBut(other string) func(namespace, name string) bool {
	return func(_, name string) bool { return name != other }
}

// shared is a replica that works for every Sync but "db".
func shared(t *testing.T, tell func(t *testing.T, w *world)) {
	t.Helper()
	story(t, func(t *testing.T, w *world) {
		w.owns = allBut("db")
		w.run(func() { tell(t, w) })
	})
}

// elsewhere has the replica that works for "db" write its status: it is in a state, at a commit.
func (w *world) elsewhere(state v1alpha1.State, commit gitobject.ID) {
	w.t.Helper()
	w.mu.Lock()
	content := w.contentOf(commit)
	w.mu.Unlock()
	w.syncNamed("db", "uid-2", func(s *v1alpha1.Sync) {
		stage := &v1alpha1.Stage{Commit: commit.String(), ContentID: content.String(), Time: metav1.NowMicro()}
		s.Status.State, s.Status.ObservedGeneration = state, s.Generation
		s.Status.Verified, s.Status.Applied, s.Status.VerifiedPaths = stage, stage, []string{s.Spec.Path}
	})
}

func TestASyncOfAnotherReplicaIsLeftAlone(t *testing.T) {
	shared(t, func(t *testing.T, w *world) {
		w.syncNamed("db", "uid-2", nil)
		w.sync(nil)
		w.deliverTo([]string{"web", "db"}, w.commit("one", "a", "db"))
		w.pass(time.Second)
		same(t, "did", applies(w), []string{"a"})
		label := v1alpha1.Label("shop", "db")
		if !w.loop.Exists(label) || !w.loop.Elsewhere("shop", "db") || w.loop.Elsewhere("shop", "web") {
			t.Error("the Sync of the other replica is not known, or is taken for one of this")
		}
		if !w.foreign[label] {
			t.Error("records of its objects are kept")
		}
		if _, followed := w.bases["shop/db"]; followed {
			t.Error("its tree is followed, though nobody here depends on it")
		}
		w.loop.SyncNow("shop", "db")
		w.loop.ObjectChanged(label)
		w.settle()
		same(t, "did for the other", applies(w), []string{})
		w.loop.SyncGone(types.NamespacedName{Namespace: "shop", Name: "db"})
		if w.loop.Exists(label) || w.foreign[label] {
			t.Error("it is gone and still known")
		}
	})
}

// TestADependentWaitsForAnotherReplica is the story of two Syncs that one commit changes, with two replicas: the dependent does
// not go by what the status of the other says of the commit before.
func TestADependentWaitsForAnotherReplica(t *testing.T) {
	shared(t, func(t *testing.T, w *world) {
		w.syncNamed("db", "uid-2", nil)
		w.sync(needs("db"))
		if _, followed := w.bases["shop/db"]; !followed {
			t.Error("the tree of the Sync that it depends on is not followed")
		}
		one := w.commit("one", "a", "db")
		w.deliver(one)
		w.pass(countsEvery + time.Second)
		same(t, "did before the other replica", applies(w), []string{})
		if got, want := w.status().Conditions[0].Message, "Waits for the Sync shop/db to be healthy."; got != want {
			t.Errorf("the resource says %q, want %q", got, want)
		}
		w.elsewhere(v1alpha1.StateInProgress, one)
		same(t, "did while the other rolls out", applies(w), []string{})
		w.elsewhere(v1alpha1.StateHealthy, one)
		same(t, "did once the other is healthy", applies(w), []string{"a"})

		two := w.commit("two", "a=2", "db=2")
		w.deliver(two)
		w.pass(time.Second)
		same(t, "did while the status of the other is of the commit before", applies(w), []string{})
		w.elsewhere(v1alpha1.StateHealthy, two)
		same(t, "did at last", applies(w), []string{"a"})
	})
}

// TestWhatArrivedForAnotherReplicaDoesNotComeAgain has commits that change nothing for "db", so that its status stays where it is.
func TestWhatArrivedForAnotherReplicaDoesNotComeAgain(t *testing.T) {
	shared(t, func(t *testing.T, w *world) {
		one := w.commit("one", "a", "db")
		w.elsewhere(v1alpha1.StateHealthy, one)
		w.sync(needs("db"))
		w.deliver(one)
		for _, name := range []string{"two", "three"} {
			next := w.commit(name, "a", "db")
			w.deliver(next)
			w.pass(rebaseAfter)
			if w.bases["shop/db"] != next || w.bases["shop/web"] != next {
				t.Errorf("the next transfers start from %s for the other replica and %s for this, want %s", w.bases["shop/db"], w.bases["shop/web"], next)
			}
		}
	})
}

// TestWhatIsFollowedNoMoreHoldsNobodyUp has the only Sync of a source that this replica works for go, so that what arrives for
// "db", of the same source, does not arrive here any more.
func TestWhatIsFollowedNoMoreHoldsNobodyUp(t *testing.T) {
	shared(t, func(t *testing.T, w *world) {
		one := w.commit("one", "a", "db")
		w.elsewhere(v1alpha1.StateHealthy, one)
		w.sync(nil)
		w.syncNamed("api", "uid-3", func(s *v1alpha1.Sync) {
			needs("db")(s)
			s.Spec.Source.Repository = "other"
		})
		w.deliverTo([]string{"web", "db"}, w.commit("two", "a", "db=2"))
		w.loop.SyncGone(types.NamespacedName{Namespace: "shop", Name: "web"})
		w.settle()
		applies(w)
		w.elsewhere(v1alpha1.StateHealthy, w.commit("three", "db=3"))
		of, first := sourceOf(w.resources["api"]), w.commit("first", "x")
		w.loop.Deliver(relay.Delivery{Source: of, Commit: first, Chains: map[string]relay.Chain{"shop/api": {Commits: []gitobject.ID{first}}}})
		w.pass(time.Second)
		same(t, "did", applies(w), []string{"x"})
	})
}

func TestWhatArrivedIsLookedIntoAgain(t *testing.T) {
	shared(t, func(t *testing.T, w *world) {
		w.syncNamed("db", "uid-2", nil)
		w.sync(needs("db"))
		one := w.commit("one", "a", "db")
		w.deliver(one)
		w.mu.Lock()
		w.contentErr = errBoom
		w.mu.Unlock()
		w.elsewhere(v1alpha1.StateHealthy, one)
		w.pass(2 * countsEvery) // nothing else wakes it then
		same(t, "did while nobody knows what arrived", applies(w), []string{})
		w.mu.Lock()
		w.contentErr = nil
		w.mu.Unlock()
		w.pass(time.Minute)
		same(t, "did then", applies(w), []string{"a"})
	})
}

// TestADependentWaitsUntilItKnowsWhatIsNewest has this replica die between a commit for both Syncs and the status of the other: the
// next process has the objects of that commit, and has not heard yet that the other replica is behind.
func TestADependentWaitsUntilItKnowsWhatIsNewest(t *testing.T) {
	t.Parallel()
	deliver := func(w *world, newest gitobject.ID) { w.deliver(newest) }
	denied := func(w *world, _ gitobject.ID) {
		w.loop.Denied(sourceOf(w.resources["db"]), []string{"data"})
		w.settle()
	}
	announced := func(w *world, newest gitobject.ID) {
		source := sourceOf(w.resources["db"])
		w.loop.SourceProblem(source, errBoom)
		w.settle()
		w.loop.Denied(source, nil)
		w.loop.Announced(source, newest, time.Now())
		w.settle()
	}
	cases := map[string]struct {
		reason string
		behind bool // whether the status of the other replica is still of the commit before
		hears  func(w *world, newest gitobject.ID)
		want   []string
	}{
		"Behind":  {reason: "The other replica has not taken in what arrives.", behind: true, hears: deliver, want: []string{}},
		"Arrives": {reason: "The other replica has taken in what arrives.", hears: deliver, want: []string{"a"}},
		"Held":    {reason: "Nothing is to arrive.", hears: ready, want: []string{"a"}},
		"Failed":  {reason: "A transfer failed, and what is announced since has not arrived.", behind: true, hears: announced, want: []string{}},
		"Denied":  {reason: "Nothing will arrive, there as here.", behind: true, hears: denied, want: []string{"a"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.owns = allBut("db")
				one, two := w.commit("one", "a", "db"), w.commit("two", "a=2", "db=2")
				w.run(func() {
					w.syncNamed("db", "uid-2", func(s *v1alpha1.Sync) { s.Spec.Path = "data" })
					w.elsewhere(v1alpha1.StateHealthy, one)
					w.sync(needs("db"))
					w.deliver(one)
					w.deliver(two)
					w.pass(2 * passingWait)
					same(t, "did before the restart", applies(w), []string{"a"})
				})
				w.run(func() {
					if !tc.behind {
						w.elsewhere(v1alpha1.StateHealthy, two)
					}
					w.pass(time.Second)
					same(t, "did before anything was heard", applies(w), []string{})
					tc.hears(w, two)
					w.pass(time.Second)
					same(t, tc.reason+" It did", applies(w), tc.want)
				})
			})
		})
	}
}

func TestADependentForgetsWhyNothingArrived(t *testing.T) {
	shared(t, func(t *testing.T, w *world) {
		w.syncNamed("db", "uid-2", nil)
		w.sync(needs("db"))
		w.loop.SourceProblem(sourceOf(w.resources["db"]), errBoom)
		w.settle()
		w.deliver(w.commit("one", "a", "db"))
		w.pass(countsEvery + time.Second)
		same(t, "did", applies(w), []string{})
		const want = "Waits for the Sync shop/db to be healthy."
		if got := meta.FindStatusCondition(w.status().Conditions, v1alpha1.ConditionHealthy).Message; got != want {
			t.Errorf("once what was in trouble has arrived the condition Healthy says %q, want %q", got, want)
		}
	})
}

func ready(w *world, _ gitobject.ID) {
	w.loop.Ready(sourceOf(w.resources["web"]), w.bases["shop/web"])
	w.settle()
}

// TestWhatIsHeldStillHasToBeTakenIn has the stream come back between a delivery and the status of the other replica.
func TestWhatIsHeldStillHasToBeTakenIn(t *testing.T) {
	shared(t, func(t *testing.T, w *world) {
		one := w.commit("one", "a", "db")
		w.elsewhere(v1alpha1.StateHealthy, one)
		w.sync(needs("db"))
		w.deliver(one)
		two := w.commit("two", "a=2", "db=2")
		w.deliver(two)
		applies(w)
		ready(w, two)
		w.pass(time.Second)
		same(t, "did", applies(w), []string{})
		w.elsewhere(v1alpha1.StateHealthy, two)
		same(t, "did once the other replica has it", applies(w), []string{"a"})
	})
}

func TestTheStatusOfAnOlderSpecSaysNothing(t *testing.T) {
	shared(t, func(t *testing.T, w *world) {
		one := w.commit("one", "a", "db")
		w.elsewhere(v1alpha1.StateHealthy, one)
		w.syncNamed("db", "uid-2", nil) // a new generation, which the other replica has not looked at
		w.sync(needs("db"))
		w.deliver(one)
		w.pass(time.Second)
		same(t, "did", applies(w), []string{})
		w.elsewhere(v1alpha1.StateHealthy, one)
		same(t, "did once it has", applies(w), []string{"a"})
	})
}

// TestWhatASyncOfAnotherReplicaOwnsIsAConflict has an object of which only the API server knows that it is another's.
func TestWhatASyncOfAnotherReplicaOwnsIsAConflict(t *testing.T) {
	shared(t, func(t *testing.T, w *world) {
		w.fail["b"] = &apply.Error{Key: key("b"), Class: apply.Owned, Message: "belongs to the Sync shop.db"}
		w.sync(nil)
		w.deliver(w.commit("one", "a", "b", "c"))
		w.took()
		w.deliver(w.commit("two", "a", "b"))
		w.pass(time.Second)
		if did := w.took(); !slices.Contains(did, "remove c") {
			t.Errorf("what Git no longer has is held up: %v", did)
		}
		got := w.status()
		if len(got.Problems) != 1 || got.Problems[0].Object != "ConfigMap/shop/b" || got.State != v1alpha1.StateFailed {
			t.Errorf("state %s, problems %+v; want the conflict", got.State, got.Problems)
		}
		if !meta.IsStatusConditionTrue(got.Conditions, v1alpha1.ConditionApplied) || got.Objects.NotApplied != 0 {
			t.Errorf("%d objects are not applied, conditions %+v", got.Objects.NotApplied, got.Conditions)
		}
		w.mend("b")
		w.pass(maxRetry)
		if got := w.status(); got.State != v1alpha1.StateHealthy || len(got.Problems) > 0 {
			t.Errorf("once the other has let it go: state %s, problems %+v", got.State, got.Problems)
		}
	})
}

// TestAKindIsWrittenAheadForEachSync has two Syncs that another number of shards may part.
func TestAKindIsWrittenAheadForEachSync(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.owns = allBut("other")
		w.run(func() {
			deployed(w)
			w.syncNamed("db", "uid-2", nil)
			w.took()
			w.deliver(w.commit("two", "a", "b", "dba"))
			did := w.took()
			if at := slices.Index(did, "status InProgress"); at < 0 || at > slices.Index(did, "apply dba") {
				t.Errorf("the kind is to be written before it is applied: %v", did)
			}
		})
	})
}

// TestWhatMayNotBeHadIsNotFollowed asks for the tree of a Sync that may not have it, and of one that may not be depended on.
func TestWhatMayNotBeHadIsNotFollowed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		alone   error
		include string
	}{"Paths": {include: barred}, "DependsOn": {alone: errBoom, include: "more"}} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.owns = allBut("db")
				w.run(func() {
					w.syncNamed("db", "uid-2", nil)
					w.sync(needs("db"))
					if len(w.bases) != 2 {
						t.Fatalf("followed: %v, want both", w.bases)
					}
					w.alone = tc.alone
					w.syncNamed("db", "uid-2", func(s *v1alpha1.Sync) { s.Spec.Include = []string{tc.include} })
					if _, followed := w.bases["shop/db"]; followed || len(w.bases) != 1 {
						t.Errorf("followed: %v, want the own tree alone", w.bases)
					}
				})
			})
		})
	}
}

func TestOfOtherReplicasSyncsIsKeptWhatMatters(t *testing.T) {
	shared(t, func(t *testing.T, w *world) {
		given := &v1alpha1.Sync{}
		given.Namespace, given.Name, given.ManagedFields = "shop", "db", []metav1.ManagedFieldsEntry{{Manager: "somebody"}}
		given.Status.Inventory, given.Status.Commit = []byte("records"), "one"
		w.loop.SyncChanged(given)
		kept := w.loop.elsewhere.syncs[types.NamespacedName{Namespace: "shop", Name: "db"}].sync
		if kept.ManagedFields != nil || kept.Status.Inventory != nil || kept.Status.Commit != "one" {
			t.Errorf("kept: %+v", kept)
		}
		if given.ManagedFields == nil || given.Status.Inventory == nil {
			t.Errorf("what was given was changed: %+v", given)
		}
	})
}

func TestAnExpressionReadsTheStatusOfAnotherReplica(t *testing.T) {
	shared(t, func(t *testing.T, w *world) {
		one := w.commit("one", "a", "db")
		w.elsewhere(v1alpha1.StateInProgress, one)
		w.sync(asks("dep.metadata.labels.schema == '5'"))
		w.deliver(one)
		w.pass(time.Second)
		same(t, "did", applies(w), []string{})
		w.syncNamed("db", "uid-2", func(s *v1alpha1.Sync) {
			s.Generation-- // labels are no part of the spec
			s.Labels = map[string]string{"schema": "5"}
		})
		same(t, "did with the label", applies(w), []string{"a"})
	})
}

func TestACircleThroughAnotherReplicaIsNamed(t *testing.T) {
	shared(t, func(t *testing.T, w *world) {
		w.syncNamed("db", "uid-2", needs("web"))
		w.sync(needs("db"))
		w.deliver(w.commit("one", "a", "db"))
		w.pass(time.Second)
		if got := w.status().Conditions[0].Message; !strings.Contains(got, "shop/web → shop/db → shop/web") {
			t.Errorf("the resource says %q", got)
		}
	})
}
