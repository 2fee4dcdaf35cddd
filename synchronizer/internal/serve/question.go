// Package serve answers people's questions about this cluster: through the automator, over a Serve stream that exists
// only while somebody asks, and for callers within the cluster.
package serve

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// What answering may cost.
const (
	// maxAtOnce bounds the questions that are being answered, whoever asks; further ones are refused.
	maxAtOnce = 4
	// maxTime bounds an answer; it is the protocol's.
	maxTime = 2 * time.Minute
	// maxParts and maxBytes bound an answer; the protocol allows a few more, for what says that the rest is left out.
	maxParts, maxBytes = 19_000, 4<<20 - 64<<10
	// maxPart bounds one part, in bytes; the protocol allows a few more, for what is around it.
	maxPart = 128<<10 - 1<<10
)

// Kind is a question.
type Kind string

// The questions.
const (
	// Tree asks which objects a Sync owns, and what they own in turn.
	Tree Kind = "tree"
	// Events asks which Kubernetes Events concern them.
	Events Kind = "events"
	// Diff asks what an apply of a commit would change.
	Diff Kind = "diff"
)

// kinds are how the protocol calls questions.
var kinds = map[Kind]relayv1.QueryKind{ //nolint:gochecknoglobals // a constant
	Tree:   relayv1.QueryKind_QUERY_KIND_RESOURCE_TREE,
	Events: relayv1.QueryKind_QUERY_KIND_EVENTS,
	Diff:   relayv1.QueryKind_QUERY_KIND_DIFF,
}

// Kinds returns every question, sorted.
func Kinds() []Kind {
	var all []Kind
	for kind := range kinds {
		all = append(all, kind)
	}
	slices.Sort(all)
	return all
}

// CheckKinds reports names that are no questions.
func CheckKinds(names []Kind) error {
	for _, name := range names {
		if _, known := kinds[name]; !known {
			return fmt.Errorf("%q is no question; there are %q", name, Kinds())
		}
	}
	return nil
}

// kindOf returns the question that the protocol calls so; empty for one that is not known here.
func kindOf(kind relayv1.QueryKind) Kind {
	for name, known := range kinds {
		if known == kind {
			return name
		}
	}
	return ""
}

// Question is what somebody wants to know about a Sync.
type Question struct {
	Kind            Kind
	Namespace, Name string
	// Commit is what a diff compares with; zero is the applied one.
	Commit gitobject.ID
}

// Each takes one part of an answer. An error ends the answer.
type Each = func(part *statusv1.AskResponse) error

// Answer answers one kind of question.
type Answer func(ctx context.Context, asked Question, each Each) error

// Answers answers questions, and bounds what that may cost.
type Answers struct {
	by     map[Kind]Answer
	places *semaphore.Weighted
}

// NewAnswers returns what answers questions by their kinds.
func NewAnswers(by map[Kind]Answer) *Answers {
	return &Answers{by: by, places: semaphore.NewWeighted(maxAtOnce)}
}

// errFull ends an answer that has become too large.
var errFull = fault.New(fault.Conflict, "the answer is full")

// Answer answers a question. What does not fit into an answer is left out, and said so.
func (a *Answers) Answer(ctx context.Context, asked Question, each Each) error {
	answer := a.by[asked.Kind]
	if answer == nil {
		return fault.New(fault.Invalid, "this synchronizer does not know the question; upgrade it")
	}
	if !a.places.TryAcquire(1) {
		return fault.New(fault.Conflict, "this cluster is answering %d questions already; ask again in a moment", maxAtOnce)
	}
	defer a.places.Release(1)
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, fault.New(fault.Conflict, "the answer took longer than %s", maxTime))
	defer cancel()
	measured := &measure{each: each}
	err := answer(ctx, asked, measured.part)
	if measured.full {
		return each(Omission("the rest of the answer", fmt.Sprintf("an answer has at most %d parts and %d bytes", maxParts, maxBytes)))
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// measure hands parts on as long as they fit.
type measure struct {
	each         Each
	parts, bytes int
	full         bool
}

func (m *measure) part(part *statusv1.AskResponse) error {
	size := proto.Size(part)
	if size > maxPart {
		return fault.New(fault.Internal, "a part of the answer has %d bytes, more than %d", size, maxPart)
	}
	m.parts++
	m.bytes += size
	if m.full = m.parts > maxParts || m.bytes > maxBytes; m.full {
		return errFull
	}
	return m.each(part)
}

// Omission is the part that says what an answer lacks, and why.
func Omission(what, reason string) *statusv1.AskResponse {
	return &statusv1.AskResponse{Part: &statusv1.AskResponse_Omission{Omission: &statusv1.Omission{What: what, Reason: Clip(reason)}}}
}

// maxText bounds a text of others in an answer, in bytes.
const maxText = 1024

// Clip bounds a text of others.
func Clip(text string) string {
	if len(text) > maxText {
		text = text[:maxText-3] + "..."
	}
	return strings.ToValidUTF8(text, "�")
}
