package converge

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
)

// story runs a story in a bubble with a clock of its own.
func story(t *testing.T, tell func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { tell(t, newWorld(t)) })
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: -want, +got:\n%s", what, diff)
	}
}

// deployed brings a Sync to two healthy objects.
func deployed(w *world) {
	w.sync(nil)
	w.deliver(w.commit("one", "a", "b"))
	w.took()
	w.told()
}

func TestFirstContact(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(nil)
			if got := w.status().State; got != v1alpha1.StateWaiting {
				t.Errorf("before anything arrived: got %s", got)
			}
			w.took()
			w.deliver(w.commit("one", "a", "b"))
			same(t, "did", w.took(), []string{"status InProgress", "apply a", "apply b", "status Healthy"})
			same(t, "told", w.told(), []string{"Received/0", "Verified/0", "Applied/0", "Healthy/0"})
		})
		s := w.status()
		if s.State != v1alpha1.StateHealthy || s.Objects.Current != 2 || s.HealthySince == nil || s.Shards != 1 || len(s.Kinds) != 1 {
			t.Errorf("status: got %+v", s)
		}
	})
}

func TestTheSameContentCostsNothing(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			next := w.commit("two", "a", "b")
			w.deliver(next)
			same(t, "did", w.took(), []string{})
			same(t, "told", w.told(), []string{})
			if w.bases["shop/web"] != next {
				t.Errorf("the next transfer starts from %s, want %s", w.bases["shop/web"], next)
			}
		})
	})
}

func TestOnlyWhatChangedIsApplied(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.deliver(w.commit("two", "a=2", "b"))
			same(t, "did", w.took(), []string{"apply a", "status Healthy"})
			same(t, "told", w.told(), []string{"Received/0", "Verified/0", "Applied/0", "Healthy/0"})
		})
	})
}

func TestAnEmptyTreeIsHealthy(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("none"))
		})
		if got := w.status().State; got != v1alpha1.StateHealthy {
			t.Errorf("state: got %s", got)
		}
	})
}

func TestARefusalStopsBeforeTheCommit(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		bad := w.commit("bad", "a=evil", "b")
		w.refusals[bad] = "not signed"
		w.run(func() {
			deployed(w)
			w.deliver(bad)
			same(t, "did", w.took(), []string{"status Refused"})
			same(t, "told", w.told(), []string{"Received/0", "Refused/0"})
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			same(t, "did on another look", w.took(), []string{})
			w.touch("b", func(r *live.Record) { r.Baseline[0] = 9 })
			same(t, "drift is healed to what was verified", w.took()[:1], []string{"apply b"})
			w.told()
		})
		w.run(func() { // a restart: the relay brings the same chain again
			w.deliver(bad)
			w.took()
			if got := w.status().State; got != v1alpha1.StateRefused {
				t.Errorf("after a restart: got %s", got)
			}
			w.sync(func(s *v1alpha1.Sync) { s.Annotations = map[string]string{v1alpha1.AnnotationAccept: bad.String()} })
			same(t, "did after consent", w.took(), []string{"apply a", "status Healthy"})
			same(t, "told after consent", w.told(), []string{"Verified/0", "Applied/0", "Healthy/0"})
		})
	})
}

// What the refusal of a first contact asks for counts: the chain begins there, and is asked for at once.
func TestAnInstallerSaysWhereToBegin(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		first := w.commit("first", "a")
		next := w.commit("next", "b")
		w.refusals[first] = "not signed"
		w.run(func() {
			w.sync(nil)
			w.deliver(first)
			before := w.named["shop/web"]
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Trust.Since = first.String() })
			if w.bases["shop/web"] != first || w.named["shop/web"] == before {
				t.Errorf("followed from %s as %q, want from %s as another than before", w.bases["shop/web"], w.named["shop/web"], first)
			}
			w.deliver(next)
			if got := w.status(); got.State != v1alpha1.StateHealthy || len(got.Problems) > 0 {
				t.Errorf("state %s, problems %v", got.State, got.Problems)
			}
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Trust.Since = "" })
			if w.bases["shop/web"] != next {
				t.Errorf("followed from %s, want from the verified commit", w.bases["shop/web"])
			}
		})
	})
}

// Whom a Sync trusts may change while a refused commit waits.
func TestARefusalIsJudgedAgainWhenTheSyncChanges(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		first := w.commit("first", "a")
		w.refusals[first] = "not signed by ada"
		w.run(func() {
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Trust.Signers = []string{"ada"} })
			w.deliver(first)
			delete(w.refusals, first)
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Trust.Signers = nil })
			if got := w.status().State; got != v1alpha1.StateHealthy {
				t.Errorf("state %s", got)
			}
		})
	})
}

func TestARestartOfAConvergedSyncDoesNothing(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() { deployed(w) })
		w.run(func() {
			w.pass(time.Hour)
			same(t, "did", w.took(), []string{})
			same(t, "told", w.told(), []string{}) // told again, under the same ids
		})
	})
}

func TestAKillBeforeTheStatusIsWrittenTellsNothingTwice(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		var before v1alpha1.Status
		one, two := w.commit("one", "a", "b"), w.commit("two", "a=2", "b")
		w.run(func() {
			w.sync(nil)
			w.deliver(one)
			before = *w.resources["web"].Status.DeepCopy()
			w.deliver(two)
			w.took()
			w.told()
		})
		w.resources["web"].Status = before // as if the last writes had not happened
		w.inventory["uid-1"][key("a")] = w.inventory["uid-1"][key("b")]
		w.run(func() {
			w.deliver(two)
			same(t, "told", w.told(), []string{})
			if got := w.status().State; got != v1alpha1.StateHealthy {
				t.Errorf("state: got %s", got)
			}
		})
	})
}

func TestAFailedObjectIsTriedAgainAndHoldsNothingUp(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.fail["a"] = fault.New(fault.Invalid, "boom")
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b"))
			same(t, "did", w.took(), []string{"status Waiting", "status InProgress", "fail a", "apply b", "status Failed"})
			if problems := w.status().Problems; len(problems) != 1 || problems[0].File != "env/a.yaml" || problems[0].Object != "ConfigMap/shop/a" {
				t.Errorf("problems: got %+v", problems)
			}
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			same(t, "did before it is due", w.took(), []string{})
			w.pass(1100 * time.Millisecond)
			same(t, "did when it is due", w.took(), []string{"fail a"})
			w.mu.Lock()
			delete(w.fail, "a")
			w.mu.Unlock()
			w.pass(time.Minute)
			same(t, "did when it works", w.took(), []string{"apply a", "status Healthy"})
			same(t, "told", w.told(), []string{"Received/0", "Verified/0", "Applied/0", "Healthy/0"})
		})
	})
}

func TestRemovalsWaitUntilEverythingIsApplied(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.mu.Lock()
			w.fail["c"] = errBoom
			w.mu.Unlock()
			w.deliver(w.commit("two", "b", "c")) // a was renamed to c
			same(t, "did while c fails", w.took(), []string{"fail c", "status Failed"})
			w.mu.Lock()
			delete(w.fail, "c")
			w.mu.Unlock()
			w.pass(time.Minute)
			same(t, "did when c works", w.took(), []string{"apply c", "status Healthy", "remove a", "status Healthy"})
		})
	})
}

func TestDriftIsHealedAndTold(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.touch("a", func(r *live.Record) { r.Baseline[0], r.Writers = 9, []string{"kubectl-edit"} })
			same(t, "did", w.took(), []string{"apply a", "status Healthy"})
			same(t, "told", w.told(), []string{"Drifted/0", "Healed/0"})
			w.touch("b", func(r *live.Record) { *r = live.Record{} })
			same(t, "did after a deletion", w.took(), []string{"apply b", "status Healthy"})
			same(t, "told after a deletion", w.told(), []string{"Drifted/1", "Healed/1"})
		})
	})
}

func TestDriftIsReportedOnly(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Drift = v1alpha1.DriftReport })
			w.deliver(w.commit("one", "a", "b"))
			w.took()
			w.touch("a", func(r *live.Record) { r.Baseline[0] = 9 })
			same(t, "did", w.took(), []string{"try a", "status Healthy"})
			if s := w.status(); len(s.Problems) != 1 || s.Problems[0].Kind != v1alpha1.ProblemDrift || s.Objects.Drifted != 1 {
				t.Errorf("status: got %+v", s)
			}
		})
	})
}

func TestSuspendStopsEveryWrite(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Suspend = true })
			w.took()
			w.touch("a", func(r *live.Record) { r.Baseline[0] = 9 })
			w.deliver(w.commit("two", "a=2", "b"))
			for _, did := range w.took() {
				if did != "status Suspended" {
					t.Errorf("suspended: did %q", did)
				}
			}
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Suspend = false })
			if got := w.took(); len(got) == 0 || got[0] != "apply a" {
				t.Errorf("resumed: did %v", got)
			}
		})
	})
}

func TestNewContentSupersedesARunningApply(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.hold = make(chan struct{})
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b"))
			w.hold <- struct{}{} // a is applied, b waits
			w.settle()
			w.took()
			w.mu.Lock()
			hold := w.hold
			w.hold = nil
			w.mu.Unlock()
			w.deliver(w.commit("two", "a", "b=2"))
			close(hold)
			w.settle()
			same(t, "did", w.took(), []string{"apply b", "status Healthy"})
			same(t, "told", w.told(), []string{"Received/0", "Verified/0", "Received/0", "Verified/0", "Applied/0", "Healthy/0"})
		})
	})
}

// What is still to be written was not forgotten, so nothing is read again for it.
func TestASupersededApplyReadsNothingAgain(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		hold := make(chan struct{})
		w.hold = hold
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b"))
			hold <- struct{}{} // a is applied, b waits
			w.settle()
			w.took()
			w.mu.Lock()
			w.hold = nil
			w.mu.Unlock()
			w.deliver(w.commit("two", "a=2", "b"))
			close(hold)
			w.settle()
			same(t, "did", w.took(), []string{"apply a", "apply b", "status Healthy"})
			if len(w.reads) > 0 {
				t.Errorf("read again: %v", w.reads)
			}
			w.touch("b", func(r *live.Record) { r.Baseline[0] = 9 })
			same(t, "read again to heal, once all was applied", w.reads, []string{"b"})
		})
	})
}

func TestTheHealthDeadlineIsToldOnce(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.health = health.Status{State: health.InProgress, Message: "1 of 2 replicas"}
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a"))
			w.told()
			w.pass(9 * time.Minute)
			same(t, "told before the deadline", w.told(), []string{})
			w.pass(2 * time.Minute)
			same(t, "told after the deadline", w.told(), []string{"Failed/0"})
			if got := w.status().State; got != v1alpha1.StateFailed {
				t.Errorf("state: got %s", got)
			}
			w.pass(time.Hour)
			same(t, "told much later", w.told(), []string{})
			w.touch("a", func(r *live.Record) { r.Health = health.Status{State: health.Current} })
			same(t, "told in the end", w.told(), []string{"Healthy/0"})
		})
	})
}

func TestCountsAreWrittenNowAndThen(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.health = health.Status{State: health.InProgress, Message: "rolling out"}
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b", "c", "d"))
			w.took()
			for _, name := range []string{"a", "b", "c"} {
				w.touch(name, func(r *live.Record) { r.Health = health.Status{State: health.Current} })
			}
			same(t, "did at once", w.took(), []string{})
			w.pass(6 * time.Second)
			same(t, "did after a while", w.took(), []string{"status InProgress"})
			w.touch("d", func(r *live.Record) { r.Health = health.Status{State: health.Current} })
			same(t, "did in the end", w.took(), []string{"status Healthy"})
		})
	})
}

func TestAKindThatComesLaterIsFoundLater(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.health = health.Status{State: health.InProgress, Message: "starting"}
			two := w.commit("two", "a", "b")
			tree := w.trees[two]
			tree.Unknown, tree.Broken = 1, map[string]bool{"env/x.yaml": true}
			tree.Objects[0].Hash[0]++ // other content
			w.trees[two] = tree
			w.deliver(two)
			w.took()
			w.pass(unknownAgain + time.Second) // looked for in vain, and woken in between for another reason
			w.took()
			three := w.trees[w.commit("three", "a", "b", "x")]
			w.mu.Lock()
			w.trees[two] = three
			w.mu.Unlock()
			w.pass(unknownAgain + time.Second)
			if got := w.took(); len(got) == 0 || !slices.Contains(got, "apply x") {
				t.Errorf("did later: %v", got)
			}
		})
	})
}

func TestABrokenRenderKeepsWhatRuns(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.mu.Lock()
			w.renderErr = fault.New(fault.NotFound, "path %q does not exist", "env")
			w.mu.Unlock()
			w.deliver(w.commit("two"))
			same(t, "did", w.took(), []string{"status Failed"})
			w.mu.Lock()
			w.renderErr = nil
			w.mu.Unlock()
		})
		if len(w.objects) != 2 {
			t.Errorf("objects: got %d, want both", len(w.objects))
		}
	})
}

func TestASourceProblemIsShownAndCleared(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			source := sourceOf(w.resources["web"])
			w.loop.SourceProblem(source, fault.New(fault.NotFound, "no such ref"))
			w.settle()
			if p := w.status().Problems; len(p) != 1 || p[0].Kind != v1alpha1.ProblemSource || w.status().State != v1alpha1.StateHealthy {
				t.Errorf("status: got %+v", w.status())
			}
			w.loop.Ready(source, w.bases["shop/web"])
			w.settle()
			if p := w.status().Problems; len(p) != 0 {
				t.Errorf("problems: got %+v", p)
			}
		})
	})
}

func TestOtherPathsStartOver(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.sync(func(s *v1alpha1.Sync) { s.Spec.Path = "other" })
			if base := w.bases["shop/web"]; !base.IsZero() {
				t.Errorf("the chain starts from %s, which was verified for other paths", base)
			}
		})
		if w.status().Verified != nil {
			t.Errorf("verified: got %+v", w.status().Verified)
		}
	})
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		policy v1alpha1.DeletionPolicy
		want   []string
	}{
		"Orphan": {reason: "The objects stay as they are.", policy: v1alpha1.DeletionOrphan, want: []string{}},
		"Delete": {reason: "The objects go first, then the Sync.", policy: v1alpha1.DeletionDelete, want: []string{"remove a", "remove b", "let go"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, w *world) {
				w.run(func() {
					w.sync(func(s *v1alpha1.Sync) { s.Spec.DeletionPolicy = tc.policy })
					w.deliver(w.commit("one", "a", "b"))
					w.took()
					w.sync(func(s *v1alpha1.Sync) { s.DeletionTimestamp = deletedNow() })
					w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
					w.settle()
					var did []string
					for _, d := range w.took() {
						if d != "status Healthy" && d != "status InProgress" && d != "status Failed" {
							did = append(did, d)
						}
					}
					if did == nil {
						did = []string{}
					}
					same(t, tc.reason, did, tc.want)
				})
			})
		})
	}
}

func TestASyncMadeAnewStartsOver(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			deployed(w)
			w.sync(func(s *v1alpha1.Sync) { s.UID, s.Status = "uid-2", v1alpha1.Status{} })
			if base := w.bases["shop/web"]; !base.IsZero() {
				t.Errorf("the chain starts from %s", base)
			}
			w.deliver(w.commit("one", "a", "b"))
			same(t, "told", w.told(), []string{}) // the fake's ids leave the uid out
			same(t, "inventories that nobody needs", w.forgot, []string{"uid-1"})
		})
		if got := w.status(); got.State != v1alpha1.StateHealthy || got.Objects.Current != 2 {
			t.Errorf("status: got %+v", got)
		}
	})
}

// What the API server does not let us list is withheld, said, and applied as soon as it can be listed.
func TestAKindThatMayNotBeListedIsWithheld(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.unsynced, w.refused = true, errBoom
		w.run(func() {
			w.sync(nil)
			w.deliver(w.commit("one", "a", "b"))
			same(t, "did while it is refused", w.took(), []string{"status Waiting", "status InProgress", "status Failed"})
			if problems := w.status().Problems; len(problems) != 2 || !strings.Contains(problems[0].Message, "ConfigMap/shop/a waits until its kind can be watched: boom") {
				t.Errorf("problems: got %v", problems)
			}
			w.mu.Lock()
			w.unsynced = false
			w.mu.Unlock()
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			same(t, "did when it is listed", w.took(), []string{"apply a", "apply b", "status Healthy"})
			if problems := w.status().Problems; len(problems) != 0 {
				t.Errorf("problems in the end: got %v", problems)
			}
		})
	})
}

// A Sync does not go before its objects, however often those cannot be removed.
func TestWhatCannotBeRemovedKeepsItsSync(t *testing.T) {
	story(t, func(t *testing.T, w *world) {
		w.run(func() {
			w.sync(func(s *v1alpha1.Sync) { s.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
			w.deliver(w.commit("one", "a"))
			w.took()
			w.mu.Lock()
			w.fail["a"] = errBoom
			w.mu.Unlock()
			w.sync(func(s *v1alpha1.Sync) { s.DeletionTimestamp = deletedNow() })
			w.sync(nil) // as the watch does when the status was written
			same(t, "did while it cannot be removed", w.took(), []string{"fail a", "status Failed"})
			w.mend("a")
			w.pass(time.Minute)
			w.loop.ObjectChanged(v1alpha1.Label("shop", "web"))
			w.settle()
			did := w.took()
			same(t, "did when it could be", []string{did[0], did[len(did)-1]}, []string{"remove a", "let go"})
		})
	})
}
