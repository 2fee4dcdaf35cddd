package converge

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// Who has something to say goes only to those that depend on it, and nothing is kept of those that do so no more.
func TestWaitersFollowWhatSyncsDependOn(t *testing.T) {
	t.Parallel()
	on := func(names ...string) *v1alpha1.Sync {
		s := &v1alpha1.Sync{}
		s.Namespace, s.Name = "shop", "web"
		for _, name := range names {
			s.Spec.DependsOn = append(s.Spec.DependsOn, v1alpha1.Dependency{Name: name})
		}
		return s
	}
	key := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "shop", Name: name} }
	web, all := key("web"), waiters{}
	all.replace(key("other"), nil, on("b"))
	for _, step := range []struct {
		reason      string
		before, now *v1alpha1.Sync
		want        waiters
	}{
		{"It begins.", nil, on("a", "b"), waiters{key("a"): {web: true}, key("b"): {web: true, key("other"): true}}},
		{"It depends on others.", on("a", "b"), on("c"), waiters{key("b"): {key("other"): true}, key("c"): {web: true}}},
		{"It is gone.", on("c"), nil, waiters{key("b"): {key("other"): true}}},
	} {
		all.replace(web, step.before, step.now)
		if diff := cmp.Diff(step.want, all); diff != "" {
			t.Errorf("%s: -want, +got:\n%s", step.reason, diff)
		}
	}
}
