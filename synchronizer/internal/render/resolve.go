package render

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// Namespaced says whether the objects of a kind live in namespaces; a NotFound fault for a kind that the cluster does not
// serve.
type Namespaced func(kind schema.GroupVersionKind) (bool, error)

// Resolve fills in namespaces and takes out what cannot be applied as it stands: kinds that neither the cluster nor the
// tree defines, and objects that are written twice. Files of which something was taken out count as broken. The error
// says that the cluster could not be asked. The objects of r are those of the result, and r is not to be used any more.
func (r Result) Resolve(namespace string, namespaced Namespaced) (Result, error) {
	out := Result{Objects: r.Objects[:0], Broken: map[string]bool{}, Problems: slices.Clone(r.Problems), files: r.files}
	maps.Copy(out.Broken, r.Broken)
	places := newPlaces(r.Objects, namespaced)
	for i := range r.Objects {
		d := &r.Objects[i]
		in, err := places.namespaced(d.GVK)
		if fault.Is(err, fault.NotFound) {
			out.Unknown++
			out.broken(Problem{File: d.Origin.File, Line: d.Origin.Line, Object: d.Key.String(), Message: err.Error()})
			continue
		}
		if err != nil {
			return Result{}, fmt.Errorf("kind %s: %w", d.GVK.Kind, err)
		}
		d.Key.Namespace = placeOf(d.Key.Namespace, namespace, in)
		if len(out.Objects) == i {
			out.Objects = out.Objects[:i+1] // it is where it belongs
		} else {
			out.Objects = append(out.Objects, *d)
		}
	}
	out.unique()
	leaveReplicas(out.Objects)
	return out, nil
}

// places knows which kinds live in namespaces, and asks once for each.
type places struct {
	ask     Namespaced
	defined map[schema.GroupKind]bool
	known   map[schema.GroupVersionKind]place
}

type place struct {
	namespaced bool
	err        error
}

func newPlaces(objects []Desired, ask Namespaced) *places {
	p := &places{ask: ask, defined: map[schema.GroupKind]bool{}, known: map[schema.GroupVersionKind]place{}}
	for i := range objects {
		if d := objects[i].Defines; d != nil {
			p.defined[d.GroupKind] = d.Namespaced
		}
	}
	return p
}

func (p *places) namespaced(kind schema.GroupVersionKind) (bool, error) {
	at, known := p.known[kind]
	if !known {
		if in, inTree := p.defined[kind.GroupKind()]; inTree {
			at.namespaced = in
		} else {
			at.namespaced, at.err = p.ask(kind)
		}
		p.known[kind] = at
	}
	return at.namespaced, at.err
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
func (r *Result) unique() {
	first := make(map[object.Key]int, len(r.Objects))
	other := map[int]int{} // of each that is written twice: where else
	for i := range r.Objects {
		at, written := first[r.Objects[i].Key]
		if !written {
			first[r.Objects[i].Key] = i
			continue
		}
		if _, known := other[at]; !known {
			other[at] = i
		}
		other[i] = at
	}
	if len(other) == 0 {
		return
	}
	kept := r.Objects[:0:0]
	for i, d := range r.Objects {
		at, twice := other[i]
		if !twice {
			kept = append(kept, d)
			continue
		}
		r.broken(Problem{
			File: d.Origin.File, Line: d.Origin.Line, Object: d.Key.String(),
			Message: fmt.Sprintf("%s is written twice, here and at %s; remove one of them", d.Key, r.Objects[at].Origin),
		})
	}
	r.Objects = kept
}
