package report

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// maxEventProblems bounds the problems of one event; it is the protocol's.
const maxEventProblems = 20

// State is what a fact says has happened.
type State string

// The states, as they also key the attempts in a Sync's status.
const (
	Received State = "Received"
	Verified State = "Verified"
	Refused  State = "Refused"
	Applied  State = "Applied"
	Healthy  State = "Healthy"
	Failed   State = "Failed"
	Drifted  State = "Drifted"
	Healed   State = "Healed"
	Pruned   State = "Pruned"
)

// Fact is one thing that happened to a Sync.
type Fact struct {
	Sync     *v1alpha1.Sync
	State    State
	Attempt  int64
	Time     time.Time
	Commit   gitobject.ID
	Content  revision.ContentID
	Message  string
	Objects  v1alpha1.Counts
	Problems []v1alpha1.Problem
	Images   []Image
}

// Image is an image as pods run it.
type Image struct{ Repository, Tag, Digest string }

// Fact reports what happened, and returns it as it is reported.
func (r *Reporter) Fact(f Fact) *statusv1.Event {
	event := f.event()
	r.Event(event)
	return event
}

func (f Fact) event() *statusv1.Event {
	event := &statusv1.Event{
		Time: timestamppb.New(f.Time), State: eventState(f.State), Attempt: f.Attempt, Message: f.Message,
		SyncNamespace: f.Sync.Namespace, SyncName: f.Sync.Name, SyncUid: string(f.Sync.UID),
		Source:   sourceToProto(f.Sync),
		Revision: revision.ToProto(revision.Revision{Commit: f.Commit, ContentID: f.Content}),
		Objects:  countsToProto(f.Objects),
		Images:   imagesToProto(f.Images),
	}
	event.Problems = problemsToProto(f.Problems[:min(len(f.Problems), maxEventProblems)])
	return event
}

func eventState(s State) statusv1.EventState {
	switch s {
	case Received:
		return statusv1.EventState_EVENT_STATE_RECEIVED
	case Verified:
		return statusv1.EventState_EVENT_STATE_VERIFIED
	case Refused:
		return statusv1.EventState_EVENT_STATE_REFUSED
	case Applied:
		return statusv1.EventState_EVENT_STATE_APPLIED
	case Healthy:
		return statusv1.EventState_EVENT_STATE_HEALTHY
	case Failed:
		return statusv1.EventState_EVENT_STATE_FAILED
	case Drifted:
		return statusv1.EventState_EVENT_STATE_DRIFTED
	case Healed:
		return statusv1.EventState_EVENT_STATE_HEALED
	case Pruned:
		return statusv1.EventState_EVENT_STATE_PRUNED
	}
	return statusv1.EventState_EVENT_STATE_UNSPECIFIED
}

// Status replaces the status of a Sync.
func (r *Reporter) Status(sync *v1alpha1.Sync, unverified bool, images []Image) error {
	now := &statusv1.Sync{
		Cluster: r.cfg.Hello.GetCluster(), Namespace: sync.Namespace, Name: sync.Name, Uid: string(sync.UID),
		Source: sourceToProto(sync), Path: sync.Spec.Path, Include: sync.Spec.Include,
		State:     syncState(sync.Status.State),
		Announced: stageToProto(sync.Status.Announced), Received: stageToProto(sync.Status.Received),
		Verified: stageToProto(sync.Status.Verified), Applied: stageToProto(sync.Status.Applied), Healthy: stageToProto(sync.Status.Healthy),
		HealthySince: sinceToProto(sync), Unverified: unverified,
		Objects: countsToProto(sync.Status.Objects), Problems: problemsToProto(sync.Status.Problems),
		ProblemsOmitted: int32(sync.Status.ProblemsOmitted),
		Images:          imagesToProto(images),
		Observation:     observationToProto(sync),
	}
	before := r.state.Get(fleet.KeyOf(now))
	if now.Observed = before.GetObserved(); before != nil && proto.Equal(before, now) {
		return nil // nothing to tell anybody
	}
	now.Observed = timestamppb.Now()
	return r.state.Put(now)
}

func sinceToProto(sync *v1alpha1.Sync) *timestamppb.Timestamp {
	if sync.Status.HealthySince == nil {
		return nil
	}
	return timestamppb.New(sync.Status.HealthySince.Time)
}

func sourceToProto(sync *v1alpha1.Sync) *revisionv1.Source {
	return &revisionv1.Source{Repository: sync.Spec.Source.Repository, Ref: sync.Spec.Source.Ref}
}

func stageToProto(s *v1alpha1.Stage) *statusv1.Stage {
	if s == nil {
		return nil
	}
	commit, _ := gitobject.ParseID(s.Commit) // a status that somebody edited shows as none
	content, _ := revision.ParseContentID(s.ContentID)
	return &statusv1.Stage{
		Revision: revision.ToProto(revision.Revision{Commit: commit, ContentID: content}), Time: timestamppb.New(s.Time.Time),
	}
}

func countsToProto(c v1alpha1.Counts) *statusv1.ObjectCounts {
	return &statusv1.ObjectCounts{
		Total: c.Total, Current: c.Current, InProgress: c.InProgress, Failed: c.Failed, NotApplied: c.NotApplied, Drifted: c.Drifted,
	}
}

// observationToProto is what an apply would change; nil in mode apply.
func observationToProto(sync *v1alpha1.Sync) *statusv1.Observation {
	o := sync.Status.Observed
	if o == nil {
		return nil
	}
	commit, _ := gitobject.ParseID(o.Commit) // a status that somebody edited shows as none
	content, _ := revision.ParseContentID(o.ContentID)
	out := &statusv1.Observation{
		Revision: revision.ToProto(revision.Revision{Commit: commit, ContentID: content}),
		Create:   o.Create, Update: o.Update, Adopt: o.Adopt, Recreate: o.Recreate, Prune: o.Prune, Refused: o.Refused, Equal: o.Equal,
		ChangesOmitted: int32(o.ChangesOmitted),
	}
	for _, c := range o.Changes {
		out.Changes = append(out.Changes, &statusv1.ObservedChange{
			Object: c.Object, Action: c.Action, Reason: c.Reason, Fields: c.Fields, FieldsOmitted: int32(c.FieldsOmitted), File: c.File, Line: int32(c.Line),
		})
	}
	return out
}

func imagesToProto(images []Image) []*revisionv1.Image {
	out := make([]*revisionv1.Image, 0, len(images))
	for _, i := range images {
		out = append(out, &revisionv1.Image{Repository: i.Repository, Tag: i.Tag, Digest: i.Digest})
	}
	return out
}

func problemsToProto(problems []v1alpha1.Problem) []*statusv1.Problem {
	out := make([]*statusv1.Problem, 0, len(problems))
	for _, p := range problems {
		commit, _ := gitobject.ParseID(p.Commit)
		object, _ := gitobject.ParseID(p.GitObject)
		out = append(out, &statusv1.Problem{
			Kind: problemKind(p.Kind), Message: p.Message, File: p.File, Line: int32(p.Line), Object: p.Object,
			Commit: revision.ObjectToProto(commit), GitObject: revision.ObjectToProto(object),
		})
	}
	return out
}

func problemKind(k v1alpha1.ProblemKind) statusv1.ProblemKind {
	switch k {
	case v1alpha1.ProblemConfig:
		return statusv1.ProblemKind_PROBLEM_KIND_CONFIG
	case v1alpha1.ProblemSource:
		return statusv1.ProblemKind_PROBLEM_KIND_SOURCE
	case v1alpha1.ProblemReceive:
		return statusv1.ProblemKind_PROBLEM_KIND_RECEIVE
	case v1alpha1.ProblemVerify:
		return statusv1.ProblemKind_PROBLEM_KIND_VERIFY
	case v1alpha1.ProblemRender:
		return statusv1.ProblemKind_PROBLEM_KIND_RENDER
	case v1alpha1.ProblemApply:
		return statusv1.ProblemKind_PROBLEM_KIND_APPLY
	case v1alpha1.ProblemHealth:
		return statusv1.ProblemKind_PROBLEM_KIND_HEALTH
	case v1alpha1.ProblemPrune:
		return statusv1.ProblemKind_PROBLEM_KIND_PRUNE
	case v1alpha1.ProblemDrift:
		return statusv1.ProblemKind_PROBLEM_KIND_DRIFT
	}
	return statusv1.ProblemKind_PROBLEM_KIND_UNSPECIFIED
}

func syncState(s v1alpha1.State) statusv1.SyncState {
	switch s {
	case v1alpha1.StateWaiting:
		return statusv1.SyncState_SYNC_STATE_WAITING
	case v1alpha1.StateInProgress:
		return statusv1.SyncState_SYNC_STATE_IN_PROGRESS
	case v1alpha1.StateHealthy:
		return statusv1.SyncState_SYNC_STATE_HEALTHY
	case v1alpha1.StateFailed:
		return statusv1.SyncState_SYNC_STATE_FAILED
	case v1alpha1.StateRefused:
		return statusv1.SyncState_SYNC_STATE_REFUSED
	case v1alpha1.StateSuspended:
		return statusv1.SyncState_SYNC_STATE_SUSPENDED
	case v1alpha1.StateObserving:
		return statusv1.SyncState_SYNC_STATE_OBSERVING
	}
	return statusv1.SyncState_SYNC_STATE_UNSPECIFIED
}
