package converge

import (
	"k8s.io/apimachinery/pkg/types"

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
