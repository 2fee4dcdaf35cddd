package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Sync is what a namespace wants converged.
type Sync struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec   Spec   `json:"spec"`
	Status Status `json:"status,omitzero"`
}

// Label is the value of LabelSync on the objects of this Sync.
func (s *Sync) Label() string { return Label(s.Namespace, s.Name) }

// Root is the folder that is rendered, in canonical form; "." for the whole repository.
func (s *Sync) Root() string { return path.Clean("./" + s.Spec.Path) }

// PruneConsent is what AnnotationAllowPrune says when a person lets everything be removed that is gone from Git. It stands for one
// content and the folder that is rendered of it: consent to one is none to another.
func (s *Sync) PruneConsent(contentID string) string {
	sum := sha256.Sum256([]byte(s.Root() + "\x00" + contentID))
	return hex.EncodeToString(sum[:])
}

// AllowsPrune reports whether a person has given that consent.
func (s *Sync) AllowsPrune(contentID string) bool {
	return s.Annotations[AnnotationAllowPrune] == s.PruneConsent(contentID)
}

// Spec says what to converge and how.
type Spec struct {
	// Source is the line of history to follow.
	Source Source `json:"source"`
	// Path is the folder whose manifests are rendered, relative to the repository's root; empty is the root.
	Path string `json:"path,omitempty"`
	// Include lists further paths that may be read, such as a shared base, but are not rendered by themselves.
	Include []string `json:"include,omitempty"`
	// Mode says whether objects are applied, or only looked at.
	Mode Mode `json:"mode,omitempty"`
	// ServiceAccountName is whose permissions every write uses.
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// Prune says whether an object that is gone from Git is removed; nil means true.
	Prune *bool `json:"prune,omitempty"`
	// DeletionPolicy says what happens to the objects when the Sync is deleted.
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
	// Drift says what happens when somebody else changes a managed field.
	Drift DriftPolicy `json:"drift,omitempty"`
	// Health says when objects of this Sync are as they should be.
	Health Health `json:"health,omitzero"`
	// DependsOn are Syncs that must be healthy, or as they say, and have taken in all that has arrived for them, before new content is applied.
	DependsOn []Dependency `json:"dependsOn,omitempty"`
	// Suspend stops every write, heals included.
	Suspend bool `json:"suspend,omitempty"`
	// HealthTimeout is how long objects may take to become Current before the release counts as failed.
	HealthTimeout *metav1.Duration `json:"healthTimeout,omitempty"`
	// Trust narrows what the cluster's own configuration trusts.
	Trust Trust `json:"trust,omitzero"`
}

// Health says when objects are as they should be.
type Health struct {
	// Rules come before the cluster's own, and count for the objects of this Sync alone.
	Rules []HealthRule `json:"rules,omitempty"`
}

// HealthRule says in CEL when an object, which expressions see as self, is as it should be.
type HealthRule struct {
	// Group is the API group; "*.example.org" stands for example.org and every group below it.
	Group string `json:"group"`
	// Kind is the kind; "*" stands for every kind of the group.
	Kind string `json:"kind"`
	// Current is true when the object is as it should be.
	Current string `json:"current"`
	// Failed is true when the object does not become so by itself; it is asked first.
	Failed string `json:"failed,omitempty"`
	// Message says why the object is not Current; the condition Ready's message when empty.
	Message string `json:"message,omitempty"`
}

// Dependency is another Sync.
type Dependency struct {
	// Namespace is where it is; the depending Sync's own when empty.
	Namespace string `json:"namespace,omitempty"`
	// Name is its name.
	Name string `json:"name"`
	// ReadyExpr says in CEL when it is ready, over dep (it) and self (the depending Sync); when it is healthy, if empty.
	ReadyExpr string `json:"readyExpr,omitempty"`
}

// Source is a line of history: a ref in a repository.
type Source struct {
	// Repository is its name in the automator's configuration.
	Repository string `json:"repository"`
	// Ref is a full ref name such as refs/heads/main.
	Ref string `json:"ref"`
}

// Trust narrows what the cluster's own configuration trusts; it never widens it.
type Trust struct {
	// Since is the commit that the installer trusts without looking further back.
	Since string `json:"since,omitempty"`
	// Signers, when not empty, are the only principals of the cluster's configuration that count for this Sync.
	Signers []string `json:"signers,omitempty"`
}

// Mode says what a Sync does with its objects.
type Mode string

// The modes.
const (
	// ModeApply makes the cluster what Git says.
	ModeApply Mode = "apply"
	// ModeObserve says what an apply would change, and writes to no object.
	ModeObserve Mode = "observe"
)

// DeletionPolicy says what happens to the objects of a Sync that is deleted.
type DeletionPolicy string

// The deletion policies.
const (
	DeletionOrphan DeletionPolicy = "orphan"
	DeletionDelete DeletionPolicy = "delete"
)

// DriftPolicy says what happens when somebody else changes a managed field.
type DriftPolicy string

// The drift policies.
const (
	DriftHeal   DriftPolicy = "heal"
	DriftReport DriftPolicy = "report"
	DriftIgnore DriftPolicy = "ignore"
)

// DriftPolicies lists the drift policies.
func DriftPolicies() []DriftPolicy { return []DriftPolicy{DriftHeal, DriftReport, DriftIgnore} }

// The CRD sets the same defaults; these also hold for a Sync that was written before a field existed.

// PruneEnabled is prune with its default.
func (s *Spec) PruneEnabled() bool { return s.Prune == nil || *s.Prune }

// Observes reports whether objects are only looked at.
func (s *Spec) Observes() bool { return s.Mode == ModeObserve }

// ServiceAccount is serviceAccountName with its default.
func (s *Spec) ServiceAccount() string {
	if s.ServiceAccountName == "" {
		return DefaultServiceAccount
	}
	return s.ServiceAccountName
}

// DriftPolicy is drift with its default.
func (s *Spec) DriftPolicy() DriftPolicy {
	if s.Drift == "" {
		return DriftHeal
	}
	return s.Drift
}

// HealthDeadline is healthTimeout with its default.
func (s *Spec) HealthDeadline() time.Duration {
	if s.HealthTimeout == nil {
		return 10 * time.Minute
	}
	return s.HealthTimeout.Duration
}
