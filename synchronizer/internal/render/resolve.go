package render

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// Namespaced says whether the objects of a kind live in namespaces; a NotFound fault for a kind that the cluster does not
// serve.
type Namespaced func(kind schema.GroupVersionKind) (bool, error)

// Resolve fills in namespaces and takes out what cannot be applied as it stands: kinds that neither the cluster nor the
// tree defines, and objects that are written twice. Files of which something was taken out count as broken. The error
// says that the cluster could not be asked.
func (r Result) Resolve(namespace string, namespaced Namespaced) (Result, error) {
	out := Result{Broken: map[string]bool{}, Problems: append([]Problem(nil), r.Problems...), files: r.files}
	for file := range r.Broken {
		out.Broken[file] = true
	}
	defined := map[schema.GroupKind]bool{}
	for i := range r.Objects {
		if d := r.Objects[i].Defines; d != nil {
			defined[d.GroupKind] = d.Namespaced
		}
	}
	places := map[object.Key][]int{}
	for i := range r.Objects {
		d := r.Objects[i]
		in, inTree := defined[d.GVK.GroupKind()]
		if !inTree {
			var err error
			in, err = namespaced(d.GVK)
			if fault.Is(err, fault.NotFound) {
				out.Unknown++
				out.broken(Problem{File: d.Origin.File, Line: d.Origin.Line, Object: d.Key.String(), Message: err.Error()})
				continue
			}
			if err != nil {
				return Result{}, fmt.Errorf("kind %s: %w", d.GVK.Kind, err)
			}
		}
		d.Key.Namespace = placeOf(d.Key.Namespace, namespace, in)
		places[d.Key] = append(places[d.Key], len(out.Objects))
		out.Objects = append(out.Objects, d)
	}
	out = out.unique(places)
	leaveReplicas(out.Objects)
	return out, nil
}

// placeOf is the namespace of an object: none for cluster-scoped kinds, the Sync's where none is written.
func placeOf(written, fallback string, namespaced bool) string {
	switch {
	case !namespaced:
		return ""
	case written == "":
		return fallback
	default:
		return written
	}
}

// unique takes out objects that are written more than once: which of them is meant, nobody can know.
func (r Result) unique(places map[object.Key][]int) Result {
	kept := make([]Desired, 0, len(r.Objects))
	for i := range r.Objects {
		d := r.Objects[i]
		at := places[d.Key]
		if len(at) == 1 {
			kept = append(kept, d)
			continue
		}
		other := r.Objects[at[0]].Origin
		if at[0] == i {
			other = r.Objects[at[1]].Origin
		}
		r.broken(Problem{
			File: d.Origin.File, Line: d.Origin.Line, Object: d.Key.String(),
			Message: fmt.Sprintf("%s is written twice, here and at %s; remove one of them", d.Key, other),
		})
	}
	r.Objects = kept
	return r
}
