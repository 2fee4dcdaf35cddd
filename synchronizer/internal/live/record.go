package live

import (
	"maps"
	"strings"
	"unique"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// maxWriters bounds how many other field managers a record names.
const maxWriters = 3

// Record is what is kept of an object.
type Record struct {
	Key             object.Key
	GVK             schema.GroupVersionKind // in the version that it was read in
	UID             types.UID
	ResourceVersion string
	// Sync is the value of the label on the object: the Sync that owns it, or
	// whose object it was copied from.
	Sync string
	// OwnerNamesItself says that the owner annotation names this very object,
	// so that the label is no copy.
	OwnerNamesItself bool
	// Ours says that our field manager has applied something to it.
	Ours bool
	// Baseline is the digest of that.
	Baseline baseline.Digest
	Health   health.Status
	// Deleting says that somebody has asked for its deletion.
	Deleting bool
	// Keep says that it asks to stay in the cluster when it is gone from Git,
	// and Confirm that it asks for consent.
	Keep, Confirm bool
	// Writers are other field managers that own something in it, the most
	// recent first.
	Writers []string

	hasPods bool // a workload that pods exist for
	native  bool // read in the version that we applied it in
	bare    bool // read when nobody looked at it: only its name and version are known
	epoch   uint32
	own     verdicts
}

// verdicts are the health of an object by the rules of the Syncs that look at
// it, by label; only of those whose own rules judge its kind.
type verdicts map[string]health.Status

// Owned reports whether the object belongs to the Sync that its label says.
func (r *Record) Owned() bool { return r.Sync != "" && r.OwnerNamesItself && r.Ours }

// reduce makes a record of an object, which is only read.
func reduce(obj *unstructured.Unstructured, healthOf func(*unstructured.Unstructured) health.Status) Record {
	kind := obj.GroupVersionKind()
	r := Record{
		Key:             object.Key{Group: kind.Group, Kind: kind.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()},
		GVK:             kind,
		UID:             obj.GetUID(),
		ResourceVersion: obj.GetResourceVersion(),
		Sync:            text(obj, "labels", v1alpha1.LabelSync),
		Health:          healthOf(obj),
		Deleting:        obj.GetDeletionTimestamp() != nil,
		Writers:         baseline.Writers(obj, v1alpha1.FieldManager),
	}
	prune := text(obj, "annotations", v1alpha1.AnnotationPrune)
	r.Keep, r.Confirm = prune == v1alpha1.PruneKeep, prune == v1alpha1.PruneConfirm
	r.hasPods = workloads[kind.GroupKind()] && runs(obj)
	r.native = baseline.Version(obj, v1alpha1.FieldManager) == obj.GetAPIVersion()
	r.OwnerNamesItself = text(obj, "annotations", v1alpha1.AnnotationOwner) == r.Key.ID()
	r.Baseline, r.Ours = baseline.Of(obj, v1alpha1.FieldManager)
	r.Writers = r.Writers[:min(len(r.Writers), maxWriters)]
	return r
}

// text reads one label or annotation; GetLabels copies them all.
func text(obj *unstructured.Unstructured, field, key string) string {
	metadata, _ := obj.Object["metadata"].(map[string]any)
	values, _ := metadata[field].(map[string]any)
	value, _ := values[key].(string)
	return value
}

// runs reports whether the status of a workload counts pods, or is a pod's.
func runs(obj *unstructured.Unstructured) bool {
	status, _ := obj.Object["status"].(map[string]any)
	for _, field := range []string{"replicas", "currentNumberScheduled", "active", "phase"} {
		if status[field] != nil && status[field] != int64(0) {
			return true
		}
	}
	return false
}

// entry is a record as it is stored, without what its watch knows and with
// what many records share held once.
type entry struct {
	id
	uid             string
	resourceVersion string
	sync            unique.Handle[string]
	message         unique.Handle[string]
	writers         unique.Handle[string] // joined by line ends
	baseline        baseline.Digest
	flags           flags
	state           health.State
	epoch           uint32 // in which it was judged
	own             verdicts
}

// id names an object among those of its kind.
type id struct {
	namespace unique.Handle[string]
	name      string
}

type flags uint8

const (
	namesItself flags = 1 << iota
	ours
	deleting
	keep
	confirm
	hasPods
	native
	bare

	// managedPods are the flags of a workload whose pods are kept.
	managedPods = namesItself | hasPods
)

func idOf(key object.Key) id { return id{unique.Make(key.Namespace), key.Name} }

func pack(r Record) *entry {
	e := &entry{
		id:              idOf(r.Key),
		uid:             string(r.UID),
		resourceVersion: r.ResourceVersion,
		sync:            unique.Make(r.Sync),
		state:           r.Health.State,
		message:         unique.Make(r.Health.Message),
		writers:         unique.Make(strings.Join(r.Writers, "\n")),
		baseline:        r.Baseline,
		epoch:           r.epoch,
		own:             r.own,
	}
	for flag, set := range map[flags]bool{
		namesItself: r.OwnerNamesItself, ours: r.Ours, deleting: r.Deleting, keep: r.Keep, confirm: r.Confirm, hasPods: r.hasPods, native: r.native,
		bare: r.bare,
	} {
		if set {
			e.flags |= flag
		}
	}
	return e
}

// owned reports whether the record that e holds is.
func (e *entry) owned() bool {
	const both = namesItself | ours
	return e.sync.Value() != "" && e.flags&both == both
}

func (e *entry) unpack(kind schema.GroupVersionKind) Record {
	r := Record{
		Key:              object.Key{Group: kind.Group, Kind: kind.Kind, Namespace: e.namespace.Value(), Name: e.name},
		GVK:              kind,
		UID:              types.UID(e.uid),
		ResourceVersion:  e.resourceVersion,
		Sync:             e.sync.Value(),
		OwnerNamesItself: e.flags&namesItself != 0,
		Ours:             e.flags&ours != 0,
		Baseline:         e.baseline,
		Health:           health.Status{State: e.state, Message: e.message.Value()},
		Deleting:         e.flags&deleting != 0,
		Keep:             e.flags&keep != 0,
		Confirm:          e.flags&confirm != 0,
		hasPods:          e.flags&hasPods != 0,
		native:           e.flags&native != 0,
	}
	if writers := e.writers.Value(); writers != "" {
		r.Writers = strings.Split(writers, "\n")
	}
	return r
}

// better reports whether an entry tells more about its object than another,
// which was read in another version: it is newer, or in the version that the
// object was applied in.
func (e *entry) better(other *entry) bool {
	if e.resourceVersion == other.resourceVersion {
		return e.flags&native != 0
	}
	return older(other.resourceVersion, e.resourceVersion)
}

// differs reports whether anybody has a reason to look again.
func (e *entry) differs(other *entry) bool {
	const shown = namesItself | ours | deleting | keep | confirm
	return e.baseline != other.baseline || e.flags&shown != other.flags&shown || e.state != other.state ||
		e.message != other.message || e.uid != other.uid || e.sync != other.sync || !maps.Equal(e.own, other.own)
}
