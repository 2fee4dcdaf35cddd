// Package api answers PipelineService from what the writers and the scanner saw last.
package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/automator/internal/scan"
	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/automator/internal/update"
	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/signature"
)

const (
	// maxProblems bounds the problems of an answer; it is the protocol's.
	maxProblems = 100
	// defaultTags is how many tags an explanation shows when nobody says.
	defaultTags = 20
	maxTags     = 1000
)

// Updates says what the writers saw last.
type Updates interface {
	Updates() []update.Status
}

// Images says what was seen of image repositories.
type Images interface {
	Seen(repository string) (scan.Snapshot, bool)
}

// Signatures says what is known of who signed images.
type Signatures interface {
	Signed(repository string, tag *policy.Tag, rules signature.Rules) policy.Signed
}

// Credentials says how those stand that are not to be had, or not to be renewed.
type Credentials interface {
	Problems() []shortlived.Standing
}

// Store says why nothing is stored; nothing while it is.
type Store interface {
	Problems() []string
}

// Pipelines answers PipelineService.
type Pipelines struct {
	pipelinev1.UnimplementedPipelineServiceServer
	updates     Updates
	images      Images
	signatures  Signatures
	credentials Credentials
	store       Store
}

// New returns the service.
func New(updates Updates, images Images, signatures Signatures, credentials Credentials, store Store) *Pipelines {
	return &Pipelines{updates: updates, images: images, signatures: signatures, credentials: credentials, store: store}
}

// ListPipelines returns a page of pipelines.
func (s *Pipelines) ListPipelines(_ context.Context, req *pipelinev1.ListPipelinesRequest) (*pipelinev1.ListPipelinesResponse, error) {
	size, err := fleet.PageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	resp := &pipelinev1.ListPipelinesResponse{}
	for _, problem := range s.store.Problems() {
		resp.Problems = append(resp.Problems, &statusv1.Problem{Kind: statusv1.ProblemKind_PROBLEM_KIND_STORE, Message: problem})
	}
	for _, standing := range s.credentials.Problems() {
		resp.Problems = append(resp.Problems, credentialProblem(standing))
	}
	var all []*pipelinev1.Pipeline
	for _, status := range s.sorted() {
		for _, p := range status.Pipelines {
			all = append(all, s.pipeline(status, p))
		}
		for _, p := range status.Problems {
			resp.Problems = append(resp.Problems, problemToProto(p))
		}
		resp.Problems = append(resp.Problems, s.registryProblems(status)...)
	}
	resp.Problems = resp.GetProblems()[:min(len(resp.GetProblems()), maxProblems)]
	name := func(p *pipelinev1.Pipeline) string { return p.GetRepository() + "\x00" + p.GetApp() }
	slices.SortFunc(all, func(a, b *pipelinev1.Pipeline) int { return cmp.Compare(name(a), name(b)) })
	resp.Pipelines, resp.NextPageToken, err = fleet.Page(all, name, size, req.GetPageToken())
	return resp, err
}

func credentialProblem(standing shortlived.Standing) *statusv1.Problem {
	text := standing.Problem.Error()
	if standing.Counts {
		text += "; what was had before is used on"
	}
	return &statusv1.Problem{Kind: statusv1.ProblemKind_PROBLEM_KIND_CREDENTIALS, Message: text, Warning: standing.Counts}
}

func (s *Pipelines) sorted() []update.Status {
	statuses := s.updates.Updates()
	slices.SortFunc(statuses, func(a, b update.Status) int { return cmp.Compare(a.Source.String(), b.Source.String()) })
	return statuses
}

// registryProblems are what the scanner met since the writer looked last: no writer is woken by a look that brought
// nothing.
func (s *Pipelines) registryProblems(status update.Status) []*statusv1.Problem {
	var problems []*statusv1.Problem
	for _, p := range status.Pipelines {
		for _, image := range p.Pipeline.Images {
			snapshot, _ := s.images.Seen(image.Repository.Name())
			failure := snapshot.Scan.LastError
			known := slices.ContainsFunc(status.Problems, func(p update.Problem) bool { return strings.Contains(p.Message, failure) })
			if failure == "" || known {
				continue
			}
			problems = append(problems, &statusv1.Problem{
				Kind: statusv1.ProblemKind_PROBLEM_KIND_REGISTRY, File: p.Pipeline.File, Line: int32(image.Line),
				Message: fmt.Sprintf("image %s of %s: %s", image.Name, p.Pipeline.App, failure),
			})
		}
	}
	return problems
}

func problemToProto(p update.Problem) *statusv1.Problem {
	kind := statusv1.ProblemKind_PROBLEM_KIND_CONFIG
	if p.Refused {
		kind = statusv1.ProblemKind_PROBLEM_KIND_COMMIT
	}
	return &statusv1.Problem{Kind: kind, Message: p.Message, File: p.File, Line: int32(p.Line)}
}

func (s *Pipelines) pipeline(status update.Status, p update.PipelineStatus) *pipelinev1.Pipeline {
	out := &pipelinev1.Pipeline{Repository: status.Source.Repository, Ref: status.Source.Ref, App: p.Pipeline.App}
	for _, image := range p.Pipeline.Images {
		out.Images = append(out.Images, s.image(p, image))
	}
	out.Environments = environments(p)
	return out
}

func (s *Pipelines) image(p update.PipelineStatus, image pipeline.Image) *pipelinev1.PipelineImage {
	out := &pipelinev1.PipelineImage{Name: image.Name, Repository: image.Repository.String(), Policy: policyText(image)}
	if candidate, ok := p.Candidates[image.Name]; ok && candidate.Pin.Tag != "" {
		out.Candidate = &revisionv1.Image{
			Name: image.Name, Repository: image.Repository.String(), Tag: candidate.Pin.Tag, Digest: candidate.Pin.Digest,
		}
	}
	if snapshot, ok := s.images.Seen(image.Repository.Name()); ok && !snapshot.Scan.LastAttempt.IsZero() {
		out.Scanned = timestamppb.New(snapshot.Scan.LastAttempt)
	}
	return out
}

// policyText is a policy in words, with who must have signed the image.
func policyText(image pipeline.Image) string {
	if len(image.Verify) == 0 {
		return image.Policy.String()
	}
	return image.Policy.String() + ", with " + image.Verify.String()
}

func environments(p update.PipelineStatus) []*pipelinev1.Environment {
	out := make([]*pipelinev1.Environment, 0, len(p.Environments))
	for i, e := range p.Environments {
		env := &pipelinev1.Environment{Name: e.Name, Reason: strings.Join(e.Reasons, " ")}
		if i < len(p.Pipeline.Environments) {
			written := p.Pipeline.Environments[i]
			env.Path, env.Cluster, env.Ref = written.Path, written.Cluster, revision.BranchRef(written.Branch)
		}
		for _, image := range p.Pipeline.Images {
			for _, pin := range e.Images[image.Name].Pins {
				env.Images = append(env.Images, &revisionv1.Image{
					Name: image.Name, Repository: image.Repository.String(), Tag: pin.Tag, Digest: pin.Digest,
				})
			}
		}
		out = append(out, env)
	}
	return out
}

// ExplainImage says why a tag was chosen and the others were not.
func (s *Pipelines) ExplainImage(_ context.Context, req *pipelinev1.ExplainImageRequest) (*pipelinev1.ExplainImageResponse, error) {
	if req.GetImage() == "" {
		return nil, fault.New(fault.Invalid, "name an image, as its pipeline calls it or by its repository")
	}
	if req.GetTags() < 0 || req.GetTags() > maxTags {
		return nil, fault.New(fault.Invalid, "tags %d is not between 1 and %d", req.GetTags(), maxTags)
	}
	resp := &pipelinev1.ExplainImageResponse{}
	var known []string
	for _, status := range s.sorted() {
		for _, p := range status.Pipelines {
			for _, image := range p.Pipeline.Images {
				known = append(known, image.Name)
				if named(req, p.Pipeline.App, image) {
					resp.Explanations = append(resp.Explanations, s.explain(req, status, p, image))
				}
			}
		}
	}
	if len(resp.GetExplanations()) == 0 {
		slices.Sort(known)
		return nil, fault.New(fault.NotFound, "no pipeline follows %q; images that are followed: %s", req.GetImage(), strings.Join(slices.Compact(known), ", "))
	}
	return resp, nil
}

func named(req *pipelinev1.ExplainImageRequest, app string, image pipeline.Image) bool {
	if req.GetApp() != "" && req.GetApp() != app {
		return false
	}
	want := req.GetImage()
	return want == image.Name || want == image.Repository.String() || want == image.Repository.Name()
}

func (s *Pipelines) explain(req *pipelinev1.ExplainImageRequest, status update.Status, p update.PipelineStatus, image pipeline.Image) *pipelinev1.ImageExplanation {
	out := &pipelinev1.ImageExplanation{
		PipelineRepository: status.Source.Repository, App: p.Pipeline.App, Image: s.image(p, image), Environments: environments(p),
	}
	snapshot, ok := s.images.Seen(image.Repository.Name())
	if !ok {
		return out
	}
	if snapshot.Scan.LastError != "" {
		out.Problem = &statusv1.Problem{Kind: statusv1.ProblemKind_PROBLEM_KIND_REGISTRY, Message: snapshot.Scan.LastError}
	}
	out.TagsSeen = int32(len(snapshot.Listed))
	in := policy.Input{Tags: snapshot.Listed, Current: runs(p, image, snapshot.Listed, snapshot.Gone), Now: time.Now()}
	if len(image.Verify) > 0 {
		in.Signed = func(tag *policy.Tag) policy.Signed {
			return s.signatures.Signed(image.Repository.Name(), tag, image.Verify)
		}
	}
	_, verdicts := policy.Select(image.Policy, in)
	if req.GetTag() != "" {
		verdicts = append([]policy.Verdict{policy.Explain(image.Policy, in, req.GetTag())}, verdicts...)
	}
	limit := int(req.GetTags())
	if limit == 0 {
		limit = defaultTags
	}
	for _, v := range verdicts[:min(len(verdicts), limit)] {
		verdict := &pipelinev1.TagVerdict{Tag: v.Tag, Kept: v.Kept, Rule: string(v.Rule), Reason: v.Reason}
		if tag, found := find(snapshot.Listed, v.Tag); found {
			verdict.Digest = tag.Digest
		}
		out.Tags = append(out.Tags, verdict)
	}
	return out
}

// runs returns the tag that the first environment runs, with what is known of it.
func runs(p update.PipelineStatus, image pipeline.Image, known ...[]policy.Tag) policy.Tag {
	if len(p.Environments) == 0 || len(p.Environments[0].Images[image.Name].Pins) == 0 {
		return policy.Tag{}
	}
	pin := p.Environments[0].Images[image.Name].Pins[0]
	current := policy.Tag{Name: pin.Tag}
	for _, tags := range known {
		if tag, found := find(tags, pin.Tag); found {
			current = tag
		}
	}
	current.Digest = pin.Digest
	return current
}

// find looks a tag up among tags that are ordered by name.
func find(tags []policy.Tag, name string) (policy.Tag, bool) {
	at, found := slices.BinarySearchFunc(tags, name, func(t policy.Tag, name string) int { return strings.Compare(t.Name, name) })
	if !found {
		return policy.Tag{}, false
	}
	return tags[at], true
}
