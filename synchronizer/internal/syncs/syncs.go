// Package syncs watches Sync resources and writes what belongs to them: status, finalizer and Kubernetes Events.
//
// It acts as the synchronizer itself; the objects of a Sync are written elsewhere, as the Sync's service account.
package syncs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// statusManager is the field manager of what the synchronizer writes to a Sync itself.
const statusManager = "tandem-synchronizer-status"

// Handler is told about Syncs. Its methods must not block.
type Handler interface {
	// SyncChanged is called with every Sync at the start, and again whenever one changes.
	SyncChanged(*v1alpha1.Sync)
	// SyncGone is called when a Sync no longer exists.
	SyncGone(types.NamespacedName)
	// SyncsListed is called when the first list is complete.
	SyncsListed()
}

// Client reads and writes Sync resources.
type Client struct {
	reading    dynamic.Interface
	writing    dynamic.Interface
	namespaces []string
	log        *zap.Logger
}

// New returns a client for Syncs in the given namespaces; none means all. What it writes goes through writing.
func New(reading, writing dynamic.Interface, namespaces []string, log *zap.Logger) *Client {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	return &Client{reading: reading, writing: writing, namespaces: namespaces, log: log}
}

// Namespaces returns where Syncs are watched; "" is everywhere.
func (c *Client) Namespaces() []string { return c.namespaces }

// Watch tells handler about the Syncs of one namespace until the context is done. listed is called once.
func (c *Client) Watch(ctx context.Context, namespace string, handler Handler, listed func()) error {
	resource := c.reading.Resource(v1alpha1.GroupVersionResource).Namespace(namespace)
	source := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, options)
		},
	}, c.reading)
	store := &ingest{handler: handler, known: map[types.NamespacedName]bool{}, listed: listed, log: c.log}
	cache.NewReflectorWithOptions(source, &unstructured.Unstructured{}, store, cache.ReflectorOptions{Name: "syncs"}).RunWithContext(ctx)
	return ctx.Err()
}

// ingest is what the reflector writes into: it keeps names only.
type ingest struct {
	handler Handler
	known   map[types.NamespacedName]bool
	listed  func()
	log     *zap.Logger
}

// Add tells about a new Sync.
func (s *ingest) Add(obj any) error { return s.Update(obj) }

// Update tells about a changed Sync. One that cannot be read is logged and left out: the schema keeps such out.
func (s *ingest) Update(obj any) error {
	object, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("watch delivered a %T", obj)
	}
	sync, err := v1alpha1.FromUnstructured(object)
	if err != nil {
		s.log.Error("Sync not readable", zap.String(telemetry.Namespace, object.GetNamespace()), zap.String(telemetry.Name, object.GetName()), zap.Error(err))
		return nil
	}
	s.known[nameOf(object)] = true
	s.handler.SyncChanged(sync)
	return nil
}

// Delete tells that a Sync is gone.
func (s *ingest) Delete(obj any) error {
	object, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("watch delivered a %T", obj)
	}
	delete(s.known, nameOf(object))
	s.handler.SyncGone(nameOf(object))
	return nil
}

// Replace takes a whole list: what is not in it is gone.
func (s *ingest) Replace(objects []any, _ string) error {
	gone := s.known
	s.known = map[types.NamespacedName]bool{}
	for _, obj := range objects {
		if err := s.Update(obj); err != nil {
			return err
		}
	}
	for name := range gone {
		if !s.known[name] {
			s.handler.SyncGone(name)
		}
	}
	if s.listed != nil {
		s.listed()
		s.listed = nil
	}
	return nil
}

// Resync does nothing: there is no second copy to compare with.
func (s *ingest) Resync() error { return nil }

func nameOf(object *unstructured.Unstructured) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
}

// WriteStatus replaces a Sync's status. A Sync that is gone, or was made anew under its name, is no error.
func (c *Client) WriteStatus(ctx context.Context, sync *v1alpha1.Sync) error {
	patch, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": v1alpha1.Kind,
		"metadata": map[string]any{"name": sync.Name, "namespace": sync.Namespace, "uid": sync.UID},
		"status":   sync.Status,
	})
	if err != nil {
		return fmt.Errorf("status of %s/%s: %w", sync.Namespace, sync.Name, err)
	}
	force := true
	_, err = c.writing.Resource(v1alpha1.GroupVersionResource).Namespace(sync.Namespace).Patch(
		ctx, sync.Name, types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: statusManager, Force: &force}, "status")
	return ignoreGone(err)
}

// AddFinalizer keeps a Sync until its objects are removed.
func (c *Client) AddFinalizer(ctx context.Context, sync *v1alpha1.Sync) error {
	return c.finalizers(ctx, sync, []string{v1alpha1.Finalizer})
}

// RemoveFinalizer lets a deleted Sync go.
func (c *Client) RemoveFinalizer(ctx context.Context, sync *v1alpha1.Sync) error {
	return c.finalizers(ctx, sync, []string{})
}

// finalizers applies our own entry of the list, which other owners' entries stay out of.
func (c *Client) finalizers(ctx context.Context, sync *v1alpha1.Sync, finalizers []string) error {
	patch, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": v1alpha1.Kind,
		"metadata": map[string]any{"name": sync.Name, "namespace": sync.Namespace, "uid": sync.UID, "finalizers": finalizers},
	})
	if err != nil {
		return err
	}
	force := true
	_, err = c.writing.Resource(v1alpha1.GroupVersionResource).Namespace(sync.Namespace).Patch(
		ctx, sync.Name, types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: statusManager + "-finalizer", Force: &force})
	return ignoreGone(err)
}

// ignoreGone turns "there is no such Sync any more" into success.
func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// Event is a Kubernetes Event about a Sync.
type Event struct {
	Sync *v1alpha1.Sync
	// Warning says that somebody should look.
	Warning bool
	// Reason is one word, Message one sentence; at most 1,024 bytes.
	Reason, Message string
	// Time is when it happened.
	Time time.Time
}

// record writes an Event.
func (c *Client) record(ctx context.Context, event Event) error {
	kind := "Normal"
	if event.Warning {
		kind = "Warning"
	}
	sync, at := event.Sync, event.Time.UTC().Format(time.RFC3339)
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Event",
		"metadata": map[string]any{"namespace": sync.Namespace, "name": fmt.Sprintf("%.200s.%x", sync.Name, event.Time.UnixNano())},
		"involvedObject": map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": v1alpha1.Kind,
			"namespace": sync.Namespace, "name": sync.Name, "uid": string(sync.UID),
		},
		"type": kind, "reason": event.Reason, "message": clip(event.Message, 1024), "count": int64(1),
		"source":         map[string]any{"component": v1alpha1.FieldManager},
		"firstTimestamp": at, "lastTimestamp": at,
	}}
	events := c.writing.Resource(eventsResource).Namespace(sync.Namespace)
	if _, err := events.Create(ctx, object, metav1.CreateOptions{FieldManager: statusManager}); err != nil {
		return fmt.Errorf("record event %s of %s/%s: %w", event.Reason, sync.Namespace, sync.Name, err)
	}
	return nil
}

func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return text[:limit-3] + "..."
}
