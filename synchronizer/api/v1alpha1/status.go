package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Status says how far a Sync came. It is also what a restarted synchronizer continues from.
type Status struct {
	// ObservedGeneration is the spec that the rest speaks about.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// State sums the Sync up in one word.
	State State `json:"state,omitempty"`
	// Commit is the applied commit, abbreviated for people.
	Commit string `json:"commit,omitempty"`
	// Conditions are Ready, Verified, Applied, Healthy and, where signatures are not checked, Unverified; Fighting while
	// somebody undoes what is healed; Deleting while a Sync that is deleted waits for its objects to go; in mode observe also Observed.
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	Announced *Stage `json:"announced,omitempty"`
	Received  *Stage `json:"received,omitempty"`
	Verified  *Stage `json:"verified,omitempty"`
	// VerifiedPaths are the paths that verified speaks about, sorted; a Sync that follows others starts over.
	VerifiedPaths []string `json:"verifiedPaths,omitempty"`

	// RenderedPath is the folder that applied speaks about, "." for the whole repository: a content id does not say which folder of
	// its paths is rendered. Absent means spec.path.
	RenderedPath string `json:"renderedPath,omitempty"`

	Applied *Stage `json:"applied,omitempty"`
	Healthy *Stage `json:"healthy,omitempty"`

	// HealthySince is since when the healthy content is healthy without interruption; absent while it is not.
	HealthySince *metav1.MicroTime `json:"healthySince,omitempty"`
	// Attempts counts the lifecycle events of the present content by state, so that an event keeps its id over a restart.
	Attempts map[string]int64 `json:"attempts,omitempty"`
	// History lists former contents, newest first, with the attempts that they used up.
	History []Former `json:"history,omitempty"`

	// Kinds are what the Sync may own. They are written before the first object of a kind is.
	Kinds []ObjectKind `json:"kinds,omitempty"`
	// Inventory is what the Sync owns, encoded, while that is small.
	Inventory []byte `json:"inventory,omitempty"`
	// Shards is how many ConfigMaps the inventory has instead when it is not.
	Shards int `json:"shards,omitempty"`
	// SyncNow is the last value of the sync-now annotation that was acted on.
	SyncNow string `json:"syncNow,omitempty"`

	// Observed is what an apply would change, in mode observe.
	Observed *Observation `json:"observed,omitempty"`

	// Objects counts what the Sync owns; in mode observe, what Git names.
	Objects Counts `json:"objects,omitzero"`
	// Problems is what is wrong, most severe first; at most MaxProblems.
	Problems []Problem `json:"problems,omitempty"`
	// ProblemsOmitted is how many further problems are not listed.
	ProblemsOmitted int `json:"problemsOmitted,omitempty"`
}

// MaxProblems is how many problems a status lists.
const MaxProblems = 20

// MaxHistory is how many former contents a status remembers.
const MaxHistory = 50

// Stage is a revision that reached a certain point.
type Stage struct {
	Commit    string           `json:"commit"`
	ContentID string           `json:"contentID"`
	Time      metav1.MicroTime `json:"time"`
	// Attempt is how often this content reached this point before.
	Attempt int64 `json:"attempt,omitempty"`
}

// Former is a content that was here before.
type Former struct {
	// Content is the start of its content id.
	Content string `json:"content"`
	// Attempts is the next attempt number for it, whatever the state.
	Attempts int64 `json:"attempts"`
}

// ObjectKind is a kind of object in the version that Git uses.
type ObjectKind struct {
	Group      string `json:"group,omitempty"`
	Version    string `json:"version"`
	Kind       string `json:"kind"`
	Namespaced bool   `json:"namespaced,omitempty"`
}

// Counts sums up the objects of a Sync in kstatus words.
type Counts struct {
	Total      int32 `json:"total"`
	Current    int32 `json:"current,omitempty"`
	InProgress int32 `json:"inProgress,omitempty"`
	Failed     int32 `json:"failed,omitempty"`
	NotApplied int32 `json:"notApplied,omitempty"`
	Drifted    int32 `json:"drifted,omitempty"`
}

// Observation is what an apply of a content would do, counted by action, and what it would change.
type Observation struct {
	Commit    string `json:"commit"`
	ContentID string `json:"contentID"`

	Create   int32 `json:"create,omitempty"`
	Update   int32 `json:"update,omitempty"`
	Adopt    int32 `json:"adopt,omitempty"`
	Recreate int32 `json:"recreate,omitempty"`
	Prune    int32 `json:"prune,omitempty"`
	Refused  int32 `json:"refused,omitempty"`
	Equal    int32 `json:"equal,omitempty"`

	// Changes are the first MaxChanges objects that an apply would do something with, removals last.
	Changes []Change `json:"changes,omitempty"`
	// ChangesOmitted is how many further objects are not listed.
	ChangesOmitted int `json:"changesOmitted,omitempty"`
}

// The limits of an observation.
const (
	// MaxChanges is how many objects are listed.
	MaxChanges = 20
	// MaxChangedFields is how many fields of an object are listed.
	MaxChangedFields = 10
)

// Change is what an apply would do with one object.
type Change struct {
	// Object is "Kind/namespace/name" or "Kind/name".
	Object string `json:"object"`
	// Action is create, update, adopt, recreate, prune or refused.
	Action string `json:"action"`
	// Reason says why, and for refused what to do.
	Reason string `json:"reason,omitempty"`
	// Fields are the first MaxChangedFields fields that differ; FieldsOmitted is how many further ones are not listed.
	Fields        []string `json:"fields,omitempty"`
	FieldsOmitted int      `json:"fieldsOmitted,omitempty"`
	File          string   `json:"file,omitempty"`
	Line          int      `json:"line,omitempty"`
}

// Problem is one thing that needs somebody's attention.
type Problem struct {
	// Kind is the step that met it.
	Kind ProblemKind `json:"kind"`
	// Message is what happened and what to do.
	Message string `json:"message"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	// Object is "Kind/namespace/name" or "Kind/name".
	Object string `json:"object,omitempty"`
	Commit string `json:"commit,omitempty"`
	// GitObject is the Git object that is broken.
	GitObject string `json:"gitObject,omitempty"`
}

// State sums a Sync up in one word.
type State string

// The states.
const (
	StateWaiting    State = "Waiting"
	StateInProgress State = "InProgress"
	StateHealthy    State = "Healthy"
	StateFailed     State = "Failed"
	StateRefused    State = "Refused"
	StateSuspended  State = "Suspended"
	StateObserving  State = "Observing"
)

// ProblemKind says which step met a problem.
type ProblemKind string

// The kinds of problem.
const (
	ProblemConfig  ProblemKind = "Config"
	ProblemSource  ProblemKind = "Source"
	ProblemReceive ProblemKind = "Receive"
	ProblemVerify  ProblemKind = "Verify"
	ProblemRender  ProblemKind = "Render"
	ProblemApply   ProblemKind = "Apply"
	ProblemHealth  ProblemKind = "Health"
	ProblemPrune   ProblemKind = "Prune"
	ProblemDrift   ProblemKind = "Drift"
)

// The condition types.
const (
	ConditionReady      = "Ready"
	ConditionVerified   = "Verified"
	ConditionApplied    = "Applied"
	ConditionHealthy    = "Healthy"
	ConditionUnverified = "Unverified"
	ConditionObserved   = "Observed"
	// ConditionFighting says that somebody undoes what is healed, again and again.
	ConditionFighting = "Fighting"
	// ConditionDeleting says what a Sync that was deleted waits for.
	ConditionDeleting = "Deleting"
	// ReasonRemoving is the reason of ConditionDeleting while objects are looked for and removed.
	ReasonRemoving = "Removing"
	// ReasonObjectsRemain is the reason of ConditionDeleting while nothing but objects on their way out is waited for.
	ReasonObjectsRemain = "ObjectsRemain"
)
