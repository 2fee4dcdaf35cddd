package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/tandem-cd/tandem/integration/bench/measure"
	"github.com/tandem-cd/tandem/integration/env"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// healTimeout bounds one heal.
const healTimeout = time.Minute

var errHealed = errors.New("is not undone")

// drift has somebody else change and delete ConfigMaps of the Sync in turn.
func (b *syncBench) drift(ctx context.Context, report *SyncReport) error {
	healed := make([]time.Duration, 0, b.opts.Samples)
	for n := range b.opts.Samples {
		m, err := parse(Object("0", 10*(n%(b.opts.Objects/10))+1, "")) // a ConfigMap in every ten
		if err != nil {
			return err
		}
		took, err := b.heal(ctx, m, n%2 == 0)
		if err != nil {
			return err
		}
		healed = append(healed, took)
	}
	report.DriftHeal = measure.Of(healed)
	return nil
}

// heal changes or deletes one object and returns how long the synchronizer needs to undo that.
func (b *syncBench) heal(ctx context.Context, m manifest, remove bool) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, healTimeout)
	defer cancel()
	objects := b.bench.world.Dynamic.Resource(m.resource).Namespace(b.bench.site.Namespace)
	one := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, m.name).String()}
	list, err := objects.List(ctx, one)
	if err != nil {
		return 0, err
	}
	if len(list.Items) != 1 {
		return 0, fmt.Errorf("%s: %w: it is not there", m.name, errHealed)
	}
	was := &list.Items[0]
	one.ResourceVersion = list.GetResourceVersion() // the object's own may be too old
	watching, err := objects.Watch(ctx, one)
	if err != nil {
		return 0, err
	}
	defer watching.Stop()
	if remove {
		err = objects.Delete(ctx, m.name, metav1.DeleteOptions{})
	} else {
		_, err = objects.Patch(ctx, m.name, types.MergePatchType, []byte(`{"data":{"value":"changed"}}`), metav1.PatchOptions{FieldManager: "somebody"})
	}
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := undone(watching, was); err != nil {
		return 0, fmt.Errorf("%s: %w", m.name, err)
	}
	return time.Since(began), nil
}

// undone waits for an object to be what it was after it was not.
func undone(watching watch.Interface, was *unstructured.Unstructured) error {
	value := func(obj *unstructured.Unstructured) string {
		value, _, _ := unstructured.NestedString(obj.Object, "data", "value")
		return value
	}
	changed := false
	for event := range watching.ResultChan() {
		obj, ok := event.Object.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("%w: %v", errHealed, event.Object)
		}
		same := event.Type != watch.Deleted && value(obj) == value(was)
		if changed && same {
			return nil
		}
		changed = changed || !same
	}
	return errHealed
}

// restore deletes everything while the Sync is suspended, and measures from its resumption to the last write.
func (b *syncBench) restore(ctx context.Context, report *SyncReport) error {
	var restored []time.Duration
	for range b.opts.Restores {
		took, err := b.restoreOnce(ctx)
		if err != nil {
			return err
		}
		b.opts.Say("  %.2f s", took.Seconds())
		restored = append(restored, took)
	}
	report.Restore = ratio(median(restored), b.raw)
	return nil
}

func (b *syncBench) restoreOnce(ctx context.Context) (time.Duration, error) {
	site := b.bench.site
	if err := b.suspend(ctx, true); err != nil {
		return 0, err
	}
	if _, err := site.WaitSync(ctx, loadSync(0), suspended); err != nil {
		return 0, err
	}
	if err := b.deleteAll(ctx); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := b.suspend(ctx, false); err != nil {
		return 0, err
	}
	if _, err := site.WaitSync(ctx, loadSync(0), env.Healthy); err != nil {
		return 0, err
	}
	if restored, err := b.count(ctx); err != nil || restored != b.opts.Objects {
		return 0, errors.Join(err, fmt.Errorf("%w: the Sync is healthy with %d objects of %d", errHealed, restored, b.opts.Objects))
	}
	last, err := b.lastWrite(began)
	return last.Sub(began), err
}

func suspended(s *statusv1.Sync) bool { return s.GetState() == statusv1.SyncState_SYNC_STATE_SUSPENDED }

func (b *syncBench) suspend(ctx context.Context, suspend bool) error {
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"suspend": suspend}})
	if err != nil {
		return err
	}
	_, err = b.bench.world.Dynamic.Resource(v1alpha1.GroupVersionResource).Namespace(b.bench.site.Namespace).
		Patch(ctx, loadSync(0), types.MergePatchType, body, metav1.PatchOptions{FieldManager: "somebody"})
	return err
}

// deleteAll deletes every object of the Sync and waits until they are gone.
func (b *syncBench) deleteAll(ctx context.Context) error {
	for _, kind := range workloadKinds() {
		objects := b.bench.world.Dynamic.Resource(kind).Namespace(b.bench.site.Namespace)
		if err := objects.DeleteCollection(ctx, metav1.DeleteOptions{}, b.owned()); err != nil {
			return err
		}
	}
	err := poll(ctx, clearTimeout, func(ctx context.Context) (bool, error) {
		left, err := b.count(ctx)
		return left == 0, err
	})
	if err != nil {
		return fmt.Errorf("delete everything: %w", err)
	}
	return nil
}

// count is how many objects of the Sync there are.
func (b *syncBench) count(ctx context.Context) (int, error) {
	n := 0
	for _, kind := range workloadKinds() {
		objects := b.bench.world.Dynamic.Resource(kind).Namespace(b.bench.site.Namespace)
		options := b.owned()
		options.ResourceVersion = "0"
		list, err := objects.List(ctx, options)
		if err != nil {
			return 0, err
		}
		n += len(list.Items)
	}
	return n, nil
}

func (b *syncBench) owned() metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: v1alpha1.LabelSync + "=" + v1alpha1.Label(b.bench.site.Namespace, loadSync(0))}
}

// lastWrite is when the API server got the last object of the Sync.
func (b *syncBench) lastWrite(since time.Time) (time.Time, error) {
	requests, err := b.bench.world.Kube.Requests("")
	if err != nil {
		return time.Time{}, err
	}
	var last time.Time
	for _, r := range requests {
		if r.Impersonated != "" && r.Verb == "patch" && strings.HasPrefix(r.Name, "load-0-") && r.At.After(since) && r.At.After(last) {
			last = r.At
		}
	}
	return last, nil
}
