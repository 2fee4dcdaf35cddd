package trust

import (
	"time"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// MaxSteps bounds a chain.
const MaxSteps = 10_000

// Step is a commit or tag: its id, its content, and when the cluster saw it
// first, which may be unknown.
type Step struct {
	ID   gitobject.ID
	Raw  []byte
	Seen time.Time
}

// Request is a chain to verify.
type Request struct {
	Policy *Policy

	// Paths are what the verdict is about: what changes elsewhere does not
	// matter. None stands for the whole tree.
	Paths []string

	// Held is the last verified commit; zero at first contact.
	Held Step
	// Since is the commit that the installer trusts; zero for none. It matters
	// at first contact only.
	Since gitobject.ID
	// Steps are the commits after Held, each naming the one before as a parent.
	Steps []Step
	// Tag is the annotated tag that names the last step; zero for none. Ref is
	// the ref it was found under.
	Tag Step
	Ref string
	// Accept are the commits that an operator takes responsibility for.
	Accept []gitobject.ID

	Trees gitobject.TreeReader
	Blobs gitobject.BlobReader
	// Signatures may be nil.
	Signatures *Signatures
}

// last is the step the request is about.
func (req *Request) last() Step {
	if len(req.Steps) == 0 {
		return req.Held
	}
	return req.Steps[len(req.Steps)-1]
}

// Verdict is how far a chain may be believed.
type Verdict struct {
	// Verified is the last commit that may be believed; zero for none.
	Verified gitobject.ID
	// Unverified says that nothing was checked, because the mode is relay.
	Unverified bool
	// Refusal is why Verified is not the last step; nil when it is.
	Refusal *Refusal
	// Counts tell by which rule the steps passed.
	Counts Counts
	// Signers are the principals whose word the verdict rests on, sorted.
	Signers []string
}

// Counts of steps.
type Counts struct {
	Untouched  int // left the paths as they are
	Human      int // signed by a human
	Automation int // signed by an automation that changed images only
	Accepted   int // refused, and then accepted
	Trusted    int // named by the installer
	Sealed     int // named by a signed tag
}
