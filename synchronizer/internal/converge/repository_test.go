package converge

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

// commit makes a commit that holds ConfigMaps, each "name" or "name=version", with "@wave", "!hook" or "~drift policy" behind it or
// not; the same list has the same content.
func (w *world) commit(name string, configMaps ...string) gitobject.ID {
	id, err := gitobject.Hash(gitobject.SHA1, gitobject.TypeCommit, []byte(name))
	if err != nil {
		w.t.Fatal(err)
	}
	result := render.Result{Broken: map[string]bool{}}
	for _, text := range configMaps {
		rest, leave, _ := strings.Cut(text, "~")
		rest, hook, _ := strings.Cut(rest, "!")
		rest, number, _ := strings.Cut(rest, "@")
		objectName, _, _ := strings.Cut(rest, "=")
		wave, _ := strconv.Atoi(number)
		policy := render.Policy{Wave: wave, Hook: v1alpha1.Hook(hook), Drift: v1alpha1.DriftPolicy(leave)}
		switch policy.Hook {
		case v1alpha1.HookPreSync:
			policy.Wave = render.PreSyncWave
		case v1alpha1.HookPostSync:
			policy.Wave = render.PostSyncWave
		case v1alpha1.HookOnFailure:
		}
		result.Objects = append(result.Objects, render.Desired{
			Key: key(objectName), GVK: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, Hash: sha256.Sum256([]byte(text)),
			Origin: object.Origin{File: "env/" + objectName + ".yaml", Line: 1}, Object: objectNamed(objectName),
			Policy: policy,
		})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trees[id] = result
	return id
}

// deliver hands commits over as the relay does.
func (w *world) deliver(commits ...gitobject.ID) {
	w.mu.Lock()
	names := slices.Collect(maps.Keys(w.resources))
	w.mu.Unlock()
	w.deliverTo(names, commits...)
}

// deliverTo does so for some Syncs.
func (w *world) deliverTo(names []string, commits ...gitobject.ID) {
	w.mu.Lock()
	chains := map[string]relay.Chain{}
	for _, name := range names {
		chains["shop/"+name] = relay.Chain{Base: w.bases["shop/"+name], Commits: commits}
	}
	w.mu.Unlock()
	source := revision.Source{Repository: "deploy", Ref: "refs/heads/main"}
	head := commits[len(commits)-1]
	w.loop.Announced(source, head, time.Now())
	w.loop.Deliver(relay.Delivery{
		Source: source, Commit: head, Announced: time.Now(), Received: time.Now(),
		Chains: chains,
	})
	w.settle()
}

func (w *world) Follow(subs []relay.Subscription) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.bases)
	for _, sub := range subs {
		for _, tree := range sub.Trees {
			w.bases[tree.Sync], w.named[tree.Sync] = tree.Base, tree.Incarnation
		}
	}
}

func (w *world) ContentID(_ context.Context, commit gitobject.ID, _ []string) (revision.ContentID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.contentOf(commit), w.contentErr
}

// contentOf returns the content id of a commit. The caller holds mu.
func (w *world) contentOf(commit gitobject.ID) revision.ContentID {
	hash := sha256.New()
	for _, d := range w.trees[commit].Objects {
		hash.Write(d.Hash[:])
	}
	return revision.ContentID(hash.Sum(nil))
}

// Verify follows a chain to the first commit that is refused and not accepted.
func (w *world) Verify(_ context.Context, r VerifyRequest) (Verdict, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	verdict := Verdict{Verified: r.Chain.Base}
	for _, commit := range r.Chain.Commits {
		if why := w.refusals[commit]; why != "" && !slices.Contains(r.Accepted, commit) {
			verdict.Refusal = &v1alpha1.Problem{Kind: v1alpha1.ProblemVerify, Message: why, Commit: commit.String()}
			return verdict, nil
		}
		verdict.Verified = commit
	}
	return verdict, nil
}

// Render takes what did not change from before, forgotten or not, as the real one does.
// objectNamed is what Git says of an object: not more than its name.
func objectNamed(name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetName(name)
	return o
}

func (w *world) Render(_ context.Context, s *v1alpha1.Sync, commit gitobject.ID, before *render.Result) (render.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.renders++
	tree := w.trees[commit]
	tree.Objects = slices.DeleteFunc(slices.Clone(tree.Objects), func(d render.Desired) bool {
		return strings.HasPrefix(d.Key.Name, "db") != (s.Name == "db") || strings.HasPrefix(d.Key.Name, "base") != (s.Spec.Path == "base")
	})
	for i := 0; before != nil && i < len(tree.Objects); i++ {
		d := &tree.Objects[i]
		if at := slices.IndexFunc(before.Objects, func(b render.Desired) bool { return b.Key == d.Key && b.Hash == d.Hash }); at >= 0 {
			d.Object = before.Objects[at].Object
		}
	}
	return tree, w.renderErr
}

func (w *world) Load(_ context.Context, objects []*render.Desired) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range objects {
		if d.Object == nil {
			d.Object = objectNamed(d.Key.Name)
			w.reads = append(w.reads, d.Key.Name)
		}
		if w.sent != nil {
			d.Object = w.sent
		}
	}
	return nil
}
