package converge

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// Sync returns a Sync's newest resource, for those who only look.
func (l *Loop) Sync(namespace, name string) (*v1alpha1.Sync, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[types.NamespacedName{Namespace: namespace, Name: name}]
	if e == nil || e.sync == nil {
		return nil, false
	}
	return e.sync.DeepCopy(), true
}

// Standing is where a Sync stands.
type Standing struct {
	Sync *v1alpha1.Sync
	// Paths are its tree.
	Paths []string
	// Base is the last verified commit, or the one that its installer trusts; zero for none.
	Base gitobject.ID
	// Applied is the commit that was applied last; zero for none.
	Applied gitobject.ID
	// Accepted are refused commits that a person takes responsibility for.
	Accepted []gitobject.ID
}

// Stands returns where a Sync stands, or why it may not have its tree.
func (l *Loop) Stands(namespace, name string) (Standing, error) {
	l.mu.Lock()
	var base gitobject.ID
	if e := l.entries[types.NamespacedName{Namespace: namespace, Name: name}]; e != nil {
		base = e.base
	}
	l.mu.Unlock()
	sync, ok := l.Sync(namespace, name)
	if !ok {
		return Standing{}, fault.New(fault.NotFound, "there is no Sync %s/%s", namespace, name)
	}
	paths, err := l.pathsOf(sync)
	if err != nil {
		return Standing{}, err
	}
	s := Standing{Sync: sync, Paths: paths, Base: base, Accepted: accepted(sync)}
	applied, verified := sync.Status.Applied, sync.Status.Verified
	switch {
	case applied == nil:
	case verified != nil && applied.ContentID == verified.ContentID:
		s.Applied = base // later commits brought nothing else, and the first may not be held any more
	default:
		s.Applied, _ = gitobject.ParseID(applied.Commit) // a status that somebody edited counts as none
	}
	return s, nil
}
