package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The resource's own names.
const (
	Group    = "tandem.dev"
	Version  = "v1alpha1"
	Kind     = "Sync"
	Resource = "syncs"
)

// Names on managed objects.
const (
	// LabelSync is on every managed object; its value is Label of the Sync. Watches select by it.
	LabelSync = "tandem.dev/sync"
	// AnnotationOwner holds the object's own id. Labels and annotations get copied to children; a copy does not
	// name the object that it is on.
	AnnotationOwner = "tandem.dev/owner"
	// AnnotationPrune, in Git, says what becomes of an object that is gone from Git: PruneKeep or PruneConfirm.
	AnnotationPrune = "tandem.dev/prune"
	// PruneKeep keeps the object in the cluster.
	PruneKeep = "keep"
	// PruneConfirm asks before the object is removed, however few they are.
	PruneConfirm = "confirm"
	// AnnotationApply, in Git, says how an object is written, by an ApplyPolicy.
	AnnotationApply = "tandem.dev/apply"
	// AnnotationIgnore, in Git, lists fields that are left to others, as JSON pointers separated by commas: they are written
	// when the object is made and never again.
	AnnotationIgnore = "tandem.dev/ignore"
	// MaxIgnored bounds the fields of an object that are ignored.
	MaxIgnored = 16
	// AnnotationDrift, in Git, says what happens when somebody else changes the object, by a DriftPolicy. It goes before what
	// the Sync says.
	AnnotationDrift = "tandem.dev/drift"
	// AnnotationWave, in Git, is a whole number between -MaxWave and MaxWave; 0 where there is none. The objects of a wave
	// are written once those of all lower waves are Current.
	AnnotationWave = "tandem.dev/wave"
	// MaxWave bounds the waves.
	MaxWave = 1000
	// AnnotationHook, in Git, makes a Job run at a certain point of each new content instead of once, by a Hook. The Job is
	// made under its name with an end that says for which content; the one before is removed with the next.
	AnnotationHook = "tandem.dev/hook"
	// FieldManager is the only field manager that Tandem writes with.
	FieldManager = "tandem-synchronizer"
	// IgnoredManager owns the fields that are left to others and that nobody else has written yet.
	IgnoredManager = "tandem-ignored"
)

// ApplyPolicy says how an object is written.
type ApplyPolicy string

// The apply policies.
const (
	// ApplyMerge writes the fields that Git names; what others added stays. It is the default.
	ApplyMerge ApplyPolicy = "merge"
	// ApplyReplace takes every field over first, so that what Git does not name goes.
	ApplyReplace ApplyPolicy = "replace"
	// ApplyRecreate is merge, but an object that refuses a change of an immutable field is deleted and made anew.
	ApplyRecreate ApplyPolicy = "recreate"
	// ApplyCreateOnly makes the object where there is none, and never changes it.
	ApplyCreateOnly ApplyPolicy = "create-only"
	// ApplySkip leaves the object alone, whether it exists or not; it is not pruned either.
	ApplySkip ApplyPolicy = "skip"
)

// ApplyPolicies lists the apply policies.
func ApplyPolicies() []ApplyPolicy {
	return []ApplyPolicy{ApplyMerge, ApplyReplace, ApplyRecreate, ApplyCreateOnly, ApplySkip}
}

// Hook says when a Job runs.
type Hook string

// The hooks.
const (
	// HookPreSync runs before every wave, which wait until it is complete.
	HookPreSync Hook = "pre-sync"
	// HookPostSync runs when every other object is Current; the Sync is healthy once it is complete.
	HookPostSync Hook = "post-sync"
	// HookOnFailure runs when the content has failed. Nothing waits for it.
	HookOnFailure Hook = "on-failure"
)

// Hooks lists the hooks.
func Hooks() []Hook { return []Hook{HookPreSync, HookPostSync, HookOnFailure} }

// Names on a Sync.
const (
	// AnnotationAccept lists refused commits, separated by commas, that a person takes responsibility for.
	AnnotationAccept = "tandem.dev/accept"
	// AnnotationAllowPrune holds the [Sync.PruneConsent] to remove everything that is gone from Git.
	AnnotationAllowPrune = "tandem.dev/allow-prune"
	// AnnotationSyncNow asks for a pass at once whenever its value changes.
	AnnotationSyncNow = "tandem.dev/sync-now"
	// Finalizer is on a Sync whose deletionPolicy is delete, until its objects are removed.
	Finalizer = "tandem.dev/delete-objects"
)

// DefaultServiceAccount is whose permissions a Sync writes with when it names none.
const DefaultServiceAccount = "tandem"

// GroupVersion is tandem.dev/v1alpha1.
var GroupVersion = schema.GroupVersion{Group: Group, Version: Version} //nolint:gochecknoglobals // a constant

// GroupVersionResource is what a dynamic client asks for.
var GroupVersionResource = GroupVersion.WithResource(Resource) //nolint:gochecknoglobals // a constant

// Label is the value of LabelSync for a Sync: "namespace.name" where that fits into a label, else its start and a
// hash. Namespaces hold no dot and names no underscore, so two Syncs never share a value.
func Label(namespace, name string) string {
	const most, start, digits = 63, 30, 32
	whole := namespace + "." + name
	if len(whole) <= most {
		return whole
	}
	sum := sha256.Sum256([]byte(whole))
	return whole[:start] + "_" + hex.EncodeToString(sum[:])[:digits]
}
