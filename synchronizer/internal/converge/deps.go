package converge

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
	"github.com/tandem-cd/tandem/synchronizer/internal/preview"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
	"github.com/tandem-cd/tandem/synchronizer/internal/syncs"
)

// Deps is what the loop works with.
type Deps struct {
	// Permit says whether Syncs of a namespace may use paths of a source.
	Permit func(namespace string, source revision.Source, paths []string) error
	// DependOn says whether Syncs of a namespace may depend on those of another.
	DependOn func(namespace, on string) error
	// Namespaces are the only ones of which Syncs are known; all when empty.
	Namespaces []string
	// Owns reports whether this replica works for a Sync: for every one when it is nil. The answer for a Sync MUST NOT change
	// once Run was called.
	Owns func(namespace, name string) bool
	// Shared reports whether other replicas work for Syncs, too; none does when it is nil.
	Shared func() bool
	// Unverified says that commit signatures are not checked.
	Unverified bool

	// Health judges objects; a Sync's own rules come before its.
	Health *health.Judge
	// Signatures says which objects' images are signed; nil demands nothing.
	Signatures Signatures

	Relay     Relay
	Trees     Trees
	Verifier  Verifier
	Renderer  Renderer
	Live      Live
	Sight     Sight
	Inventory Inventory
	Applier   Applier
	Previewer Previewer
	Syncs     Syncs
	Events    Events
	Reporter  Reporter
	Log       *zap.Logger
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer
	// Workers is how many Syncs are worked on at a time; DefaultWorkers when 0.
	Workers int
}

// Relay is told what to follow.
type Relay interface {
	Follow(subs []relay.Subscription)
}

// Trees answers what commits hold.
type Trees interface {
	ContentID(ctx context.Context, commit gitobject.ID, paths []string) (revision.ContentID, error)
}

// Verifier checks chains.
type Verifier interface {
	Verify(ctx context.Context, request VerifyRequest) (Verdict, error)
}

// VerifyRequest is a chain that arrived for a Sync.
type VerifyRequest struct {
	Sync  *v1alpha1.Sync
	Paths []string
	Chain relay.Chain
	// Tag is the annotated tag that the ref names; zero for none.
	Tag gitobject.ID
	// Seen is when the chain arrived.
	Seen time.Time
	// Accepted are refused commits that a person takes responsibility for.
	Accepted []gitobject.ID
}

// Verdict is how far a chain may be followed.
type Verdict struct {
	// Verified is the last commit that passed; zero when none did.
	Verified gitobject.ID
	// Refusal says why the next one did not; nil when all did.
	Refusal *v1alpha1.Problem
}

// Renderer turns the tree of a commit into objects.
type Renderer interface {
	// Render returns the objects of a commit. before is the last result, or nil; what did not change is taken from it.
	Render(ctx context.Context, sync *v1alpha1.Sync, commit gitobject.ID, before *render.Result) (render.Result, error)
	// Load gives back objects that were forgotten.
	Load(ctx context.Context, objects []*render.Desired) error
}

// Live is what the watches know.
type Live interface { //nolint:interfacebloat // one store answers all of them
	// Judge has the objects of a Sync judged by a judge of its own; nil is everybody's.
	Judge(label string, judge *health.Judge)
	// Need has the kinds watched for a Sync; it replaces what was needed before.
	Need(label string, kinds []v1alpha1.ObjectKind)
	// Release ends what Need began.
	Release(label string)
	// Foreign has no records kept of a Sync's objects, because another replica works for it, or has them kept again.
	Foreign(label string, is bool)
	// Unlisted returns what Need asked for and has not been listed.
	Unlisted(label string) []live.Unlisted
	// Failures returns why something that Need asked for brings nothing now.
	Failures(label string) []error
	// Get returns what is known about an object.
	Get(key object.Key) (live.Record, bool)
	// Planned returns the objects that carry a Sync's label.
	Planned(label string) map[object.Key]plan.Live
	// OwnedKinds returns the kinds of which a Sync owns objects.
	OwnedKinds(label string) []v1alpha1.ObjectKind
	// Labelled reports whether any object of a kind is known that carries a Sync's label.
	Labelled(kind v1alpha1.ObjectKind) bool
	// Observe takes the answer to our own write.
	Observe(written *unstructured.Unstructured)
	// Images returns what the pods of a Sync's workloads run.
	Images(label string) []live.Image
}

// Sight is what the watches know of objects that Syncs in mode observe look at, whosever they are.
type Sight interface { //nolint:interfacebloat // one store answers all of them
	// Judge has what a Sync looks at judged by a judge of its own; nil is everybody's.
	Judge(label string, judge *health.Judge)
	// Look has objects looked at for a Sync; it replaces what was looked at before.
	Look(label string, kinds []v1alpha1.ObjectKind, keys []object.Key)
	// Release ends what Look began.
	Release(label string)
	// Unlisted returns what is looked at and has not been listed.
	Unlisted(label string) []live.Unlisted
	// Failures returns why something that is looked at brings nothing now.
	Failures(label string) []error
	// Seen returns what is known about an object that a Sync looks at; Baseline is the digest of all that matters of it.
	Seen(label string, key object.Key) (live.Record, bool)
}

// Previewer says what an apply would change.
type Previewer interface {
	Run(ctx context.Context, req preview.Request, each func(preview.Change) error) (preview.Summary, error)
}

// Inventory is what the Sync owns, as recorded.
type Inventory interface {
	Load(ctx context.Context, sync *v1alpha1.Sync) (map[object.Key]inventory.Entry, error)
	Save(ctx context.Context, sync *v1alpha1.Sync, entries map[object.Key]inventory.Entry) (inventory.Kept, error)
	// Forget ends what Load began, for a Sync that is gone.
	Forget(uid types.UID)
}

// Applier takes steps.
type Applier interface {
	Run(ctx context.Context, as apply.Identity, label string, steps []plan.Step, done func(apply.Result)) error
	// Try finds out what the apply of a step would come to, and writes nothing.
	Try(ctx context.Context, as apply.Identity, label string, step plan.Step) apply.Trial
}

// Syncs writes what belongs to Sync resources.
type Syncs interface {
	WriteStatus(ctx context.Context, sync *v1alpha1.Sync) error
	AddFinalizer(ctx context.Context, sync *v1alpha1.Sync) error
	RemoveFinalizer(ctx context.Context, sync *v1alpha1.Sync) error
}

// Events tells people what happened. Record never blocks.
type Events interface {
	Record(event syncs.Event)
}

// Reporter takes facts and status.
type Reporter interface {
	Fact(fact report.Fact)
	Status(sync *v1alpha1.Sync, unverified bool, images []report.Image) error
	Removed(namespace, name string)
}
