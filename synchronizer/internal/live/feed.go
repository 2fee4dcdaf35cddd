package live

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/tandem-cd/tandem/shared/backoff"
)

// unservedFor is how long the API server must not know a resource before we
// believe it: a moment of that is nothing, and the mapper must be free to ask.
const unservedFor = 2 * refreshEvery

// again says how soon a list or watch that failed is tried again.
var again = backoff.Backoff{Min: 500 * time.Millisecond, Max: 30 * time.Second} //nolint:gochecknoglobals // a constant

// feed lists and watches the objects of one resource in one namespace, or in
// all of them, and keeps a store up to date with them.
type feed struct {
	resource  schema.GroupVersionResource
	namespace string // empty: cluster-scoped objects, or all namespaces
	selector  string
	unserved  func() // called once when the API server no longer knows the resource
	turned    func() // called when it begins or ends to fail; may be nil
	metrics   *metrics

	mu      sync.Mutex
	failure error     // of the last request; nil while it works
	failing time.Time // since when it does not
	missing time.Time // since when the API server does not know the resource
}

func (f *feed) String() string {
	where := f.resource.GroupResource().String()
	if f.namespace != "" {
		where += " in namespace " + f.namespace
	}
	return where
}

// run feeds store until ctx is done.
func (f *feed) run(ctx context.Context, client dynamic.Interface, store cache.ReflectorStore) {
	reflector := cache.NewReflectorWithOptions(f.source(client), nil, store, cache.ReflectorOptions{
		Name:            "live",
		TypeDescription: f.resource.String(),
	})
	for attempt := 0; ctx.Err() == nil; attempt++ {
		before := reflector.LastSyncResourceVersion()
		if err := reflector.ListAndWatchWithContext(ctx); err != nil {
			f.note(err)
		}
		if before != reflector.LastSyncResourceVersion() {
			attempt = 0
		}
		if f.unserved != nil && f.isUnserved() {
			f.unserved()
			return
		}
		if again.Wait(ctx, attempt) != nil {
			return
		}
	}
}

// source notes failures where they happen: the reflector goes on by itself
// after some of them and tells nobody.
func (f *feed) source(client dynamic.Interface) cache.ListerWatcher {
	resource := client.Resource(f.resource).Namespace(f.namespace)
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = f.selector
			list, err := resource.List(ctx, options)
			f.metrics.lists.WithLabelValues(resultOf(err)).Inc()
			f.note(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = f.selector
			w, err := resource.Watch(ctx, options)
			f.metrics.watches.WithLabelValues(resultOf(err)).Inc()
			f.note(err)
			return w, err
		},
	}, client)
}

func (f *feed) note(err error) {
	if f.remember(err) && f.turned != nil {
		f.turned()
	}
}

// remember reports whether requests began or ceased to fail.
func (f *feed) remember(err error) (turned bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if turned = (f.failure == nil) != (err == nil); turned {
		f.failing = time.Now()
	}
	f.failure = err
	switch {
	case !apierrors.IsNotFound(err):
		f.missing = time.Time{}
	case f.missing.IsZero():
		f.missing = time.Now()
	}
	return turned
}

func (f *feed) isUnserved() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.missing.IsZero() && time.Since(f.missing) > unservedFor
}

// err returns why nothing arrives, and nil when something does.
func (f *feed) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failure == nil {
		return nil
	}
	if apierrors.IsForbidden(f.failure) {
		return fmt.Errorf("watch %s: %w; this rule for the synchronizer's account would allow it: {apiGroups: [%q], resources: [%q], verbs: [get, list, watch]}",
			f, f.failure, f.resource.Group, f.resource.Resource)
	}
	return fmt.Errorf("watch %s: %w", f, f.failure)
}

// refusedAfter is for how long the API server must have refused to list a resource before we believe that it means it.
const refusedAfter = 3 * time.Second

// refusal returns why the API server has decided that nothing arrives. Nil also while it cannot be reached, or has too much
// to do: then nobody knows.
func (f *feed) refusal() error {
	f.mu.Lock()
	cause, since := f.failure, f.failing
	f.mu.Unlock()
	decided := apierrors.IsForbidden(cause) || apierrors.IsUnauthorized(cause) || apierrors.IsMethodNotSupported(cause) || apierrors.IsInternalError(cause)
	if !decided || time.Since(since) < refusedAfter {
		return nil
	}
	return f.err()
}

// older reports whether an object at version a has been overtaken by one at
// version b. Versions that are no numbers cannot be compared; then the later
// arrival counts.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}
