package apply

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// deployers are the field managers of tools that write objects from manifests as a whole. What such a tool wrote and Git does
// not name is a leftover of the tool's manifest, and goes when the object is adopted. What people and controllers wrote stays.
var deployers = []string{ //nolint:gochecknoglobals // a constant
	"kubectl", "kubectl-client-side-apply", "kubectl-create", "kubectl-replace", // kubectl apply with and without --server-side
	"helm", "Helm", "helm-controller", "kustomize-controller", // Helm 3 and 4, Flux
	"argocd-application-controller", "argocd-controller", "argocd-server",
}

// lastApplied is where kubectl's client-side apply keeps what it wrote. With it, the next kubectl apply would fight with us.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// takeOver makes the fields of other managers ours, so that the apply behind it removes those that Git does not name. It
// returns the object as it is then, and writes nothing when there is nothing to take.
func (t *target) takeOver(ctx context.Context, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	entries, taken, err := taken(live.GetManagedFields(), t.takes(), live.GetAPIVersion())
	if err != nil {
		return nil, fmt.Errorf("managed fields of %s: %w", t.Key, err)
	}
	if !taken {
		return live, nil
	}
	var more []patchOperation
	if _, there := live.GetAnnotations()[lastApplied]; there {
		more = append(more, patchOperation{Op: "remove", Path: "/metadata/annotations/" + escapePointer(lastApplied)})
	}
	return t.writeManagers(ctx, live, entries, more...)
}

// takes says which managers the fields are taken from.
func (t *target) takes() func(metav1.ManagedFieldsEntry) bool {
	if t.Desired.Policy.Apply == v1alpha1.ApplyReplace {
		return func(metav1.ManagedFieldsEntry) bool { return true }
	}
	return func(e metav1.ManagedFieldsEntry) bool { return slices.Contains(deployers, e.Manager) }
}

// taken moves the fields of the entries that are taken into the one that we apply with. Entries of subresources belong to
// controllers and stay. It reports false when there is nothing to take.
func taken(entries []metav1.ManagedFieldsEntry, takes func(metav1.ManagedFieldsEntry) bool, version string) ([]metav1.ManagedFieldsEntry, bool, error) {
	ours := metav1.ManagedFieldsEntry{
		Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: version, FieldsType: "FieldsV1",
	}
	var kept []metav1.ManagedFieldsEntry
	union, found := fieldpath.NewSet(), false
	for _, e := range entries {
		mine := isOurs(e)
		if !mine && (e.Subresource != "" || !takes(e)) {
			kept = append(kept, e)
			continue
		}
		set := fieldpath.NewSet()
		if e.FieldsV1 != nil {
			if err := set.FromJSON(e.FieldsV1.GetRawReader()); err != nil {
				return nil, false, err
			}
		}
		union, found = union.Union(set), found || !mine
		if mine {
			ours.APIVersion = e.APIVersion
		}
	}
	var err error
	ours.FieldsV1, err = fieldsOf(union)
	return append(kept, ours), found, err
}
