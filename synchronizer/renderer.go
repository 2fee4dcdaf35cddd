package synchronizer

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/objects"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
	"github.com/tandem-cd/tandem/synchronizer/internal/tenancy"
)

// renderer renders trees of the object store with the kinds of the cluster.
type renderer struct {
	store  *objects.Store
	mapper *live.Mapper
	rules  tenancy.Rules
}

// Render returns the objects of a commit; an *tenancy.OverQuotaError when they are more than the Sync may hold.
func (r renderer) Render(ctx context.Context, sync *v1alpha1.Sync, commit gitobject.ID, before *render.Result) (render.Result, error) {
	raw, err := r.store.Commit(ctx, commit)
	if err != nil {
		return render.Result{}, err
	}
	decoded, err := gitobject.DecodeCommit(commit.Algorithm(), raw)
	if err != nil {
		return render.Result{}, fault.New(fault.Invalid, "commit %s: %w", commit, err)
	}
	paths, err := revision.CleanPaths([]string{sync.Spec.Path})
	if err != nil {
		return render.Result{}, err
	}
	result, err := render.Tree(ctx, r.store, decoded.Tree, paths[0], before)
	if err != nil {
		return render.Result{}, err
	}
	if err := r.rules.Check(sync.Namespace, result.Objects); err != nil {
		return render.Result{}, err
	}
	return result.Resolve(sync.Namespace, func(kind schema.GroupVersionKind) (bool, error) {
		_, namespaced, err := r.mapper.Resource(ctx, kind)
		return namespaced, err
	})
}

// Load gives back objects that were forgotten.
func (r renderer) Load(ctx context.Context, objects []*render.Desired) error {
	return render.Load(ctx, r.store, objects)
}
