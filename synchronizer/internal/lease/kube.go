package lease

import (
	"context"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/shard"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// Resource is where Leases are.
var Resource = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"} //nolint:gochecknoglobals // a constant

// microTime is how a Lease writes times.
const microTime = "2006-01-02T15:04:05.000000Z07:00"

// annotationShards says on a Lease by how many shards its holder divides the Syncs.
const annotationShards = v1alpha1.Group + "/shards"

// Kube is a Lease of a cluster.
type Kube struct {
	client dynamic.ResourceInterface
	name   string
}

// NewKube returns a Lease by its name. It is made when it is first put.
func NewKube(client dynamic.Interface, namespace, name string) *Kube {
	return &Kube{client: client.Resource(Resource).Namespace(namespace), name: name}
}

// Kubes returns the Leases of all shards that there may be, by the name of the first.
func Kubes(client dynamic.Interface, namespace, name string) []Store {
	leases := make([]Store, shard.Max)
	for index := range leases {
		leases[index] = NewKube(client, namespace, Name(name, index))
	}
	return leases
}

// Name returns the name of a shard's Lease, by that of the first.
func Name(first string, index int) string {
	if index == 0 {
		return first
	}
	return fmt.Sprintf("%s-%d", first, index)
}

// Get returns what it says.
func (k *Kube) Get(ctx context.Context) (Record, error) {
	object, err := k.client.Get(ctx, k.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Record{}, nil
	}
	if err != nil {
		return Record{}, fmt.Errorf("read lease %s: %w", k.name, err)
	}
	return recordOf(object), nil
}

// recordOf reads a Lease; a field that is missing or no such thing counts as empty. A number of shards that is none is that of
// nobody.
func recordOf(object *unstructured.Unstructured) Record {
	holder, _, _ := unstructured.NestedString(object.Object, "spec", "holderIdentity")
	term, _, _ := unstructured.NestedInt64(object.Object, "spec", "leaseTransitions")
	seconds, _, _ := unstructured.NestedInt64(object.Object, "spec", "leaseDurationSeconds")
	at := func(field string) time.Time {
		text, _, _ := unstructured.NestedString(object.Object, "spec", field)
		parsed, _ := time.Parse(time.RFC3339Nano, text)
		return parsed
	}
	shards := 1
	if text, divides := object.GetAnnotations()[annotationShards]; divides {
		shards, _ = strconv.Atoi(text)
	}
	return Record{
		Holder: holder, Term: term, Duration: min(time.Duration(seconds)*time.Second, MaxDuration), Shards: shards,
		Acquired: at("acquireTime"), Renewed: at("renewTime"), Version: object.GetResourceVersion(),
	}
}

// Put replaces what it says.
func (k *Kube) Put(ctx context.Context, r Record) (Record, error) {
	metadata := map[string]any{"name": k.name, "annotations": map[string]any{annotationShards: strconv.Itoa(r.Shards)}}
	if r.Version != "" {
		metadata["resourceVersion"] = r.Version
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": Resource.GroupVersion().String(), "kind": "Lease", "metadata": metadata,
		"spec": map[string]any{
			"holderIdentity": r.Holder, "leaseTransitions": r.Term, "leaseDurationSeconds": int64(r.Duration / time.Second),
			"acquireTime": r.Acquired.UTC().Format(microTime), "renewTime": r.Renewed.UTC().Format(microTime),
		},
	}}
	var written *unstructured.Unstructured
	var err error
	if r.Version == "" {
		written, err = k.client.Create(ctx, object, metav1.CreateOptions{})
	} else {
		written, err = k.client.Update(ctx, object, metav1.UpdateOptions{})
	}
	switch {
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err):
		return Record{}, fault.New(fault.Conflict, "the lease has changed meanwhile: %w", err)
	case err != nil:
		return Record{}, fmt.Errorf("write lease %s: %w", k.name, err)
	}
	return recordOf(written), nil
}
