package fleet

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// minPrefix is the shortest abbreviation of a commit that is looked up.
const minPrefix = 7

// WhereIs says how far a commit or an image came.
func (s *Service) WhereIs(ctx context.Context, req *statusv1.WhereIsRequest) (*statusv1.WhereIsResponse, error) {
	size, err := PageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	visible, err := s.visible(ctx)
	if err != nil {
		return nil, err
	}
	page, next, err := Page(visible, sortName, size, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp := &statusv1.WhereIsResponse{NextPageToken: next}
	switch subject := req.GetSubject().(type) {
	case *statusv1.WhereIsRequest_Commit:
		err = s.whereCommit(ctx, subject.Commit, page, resp)
	case *statusv1.WhereIsRequest_Image:
		err = whereImage(subject.Image, page, resp)
	default:
		err = fault.New(fault.Invalid, "name a commit or an image")
	}
	return resp, err
}

// visible returns the Syncs that the caller may see; why not, when there is none of them.
func (s *Service) visible(ctx context.Context) ([]*statusv1.Sync, error) {
	allowed := map[Key]error{} // by cluster and namespace
	var visible []*statusv1.Sync
	var denied error
	for _, status := range s.State.Syncs(nil) {
		place := Key{Cluster: status.GetCluster(), Namespace: status.GetNamespace()}
		err, asked := allowed[place]
		if !asked {
			err = s.check(ctx, place.Cluster, place.Namespace)
			allowed[place] = err
		}
		if err != nil {
			denied = err
			continue
		}
		visible = append(visible, status)
	}
	if len(visible) == 0 {
		return nil, denied
	}
	return visible, nil
}

func (s *Service) whereCommit(ctx context.Context, prefix string, syncs []*statusv1.Sync, resp *statusv1.WhereIsResponse) error {
	if len(prefix) < minPrefix {
		return fault.New(fault.Invalid, "commit %q is shorter than %d digits", prefix, minPrefix)
	}
	found := map[string]gitobject.ID{} // by repository; zero where it is not
	for _, status := range syncs {
		repository := status.GetSource().GetRepository()
		commit, seen := found[repository]
		if !seen {
			resolved, err := s.Contents.ResolveCommit(ctx, repository, prefix)
			if err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
			commit, found[repository] = resolved, resolved
		}
		if commit.IsZero() {
			continue
		}
		location, err := s.locate(ctx, commit, status)
		if err != nil {
			return err
		}
		resp.Commit = revision.ObjectToProto(commit)
		resp.Locations = append(resp.Locations, location)
	}
	if resp.GetCommit() == nil {
		return fault.New(fault.NotFound, "no repository that a Sync follows has exactly one commit %q", prefix)
	}
	return nil
}

func (s *Service) locate(ctx context.Context, commit gitobject.ID, status *statusv1.Sync) (*statusv1.Location, error) {
	paths, err := TreePaths(status)
	if err != nil {
		return nil, err
	}
	content, err := s.Contents.ContentAt(ctx, status.GetSource().GetRepository(), commit, paths)
	if err != nil {
		return nil, fmt.Errorf("content of %s at %s: %w", KeyOf(status), commit, err)
	}
	location := newLocation(status)
	location.Presence, location.Since = presence(status, content)
	location.Reason = reason(location.GetPresence(), status)
	return location, nil
}

// TreePaths returns the paths of a Sync's tree in canonical form.
func TreePaths(status *statusv1.Sync) ([]string, error) {
	return revision.CleanPaths(append([]string{status.GetPath()}, status.GetInclude()...))
}

func newLocation(status *statusv1.Sync) *statusv1.Location {
	return &statusv1.Location{Sync: KeyOf(status).proto(), Applied: status.GetApplied().GetRevision()}
}

// presence compares a content id with those of a Sync's stages, furthest first.
func presence(status *statusv1.Sync, content revision.ContentID) (statusv1.Presence, *timestamppb.Timestamp) {
	stages := []struct {
		stage    *statusv1.Stage
		presence statusv1.Presence
	}{
		{status.GetHealthy(), statusv1.Presence_PRESENCE_HEALTHY},
		{status.GetApplied(), statusv1.Presence_PRESENCE_APPLIED},
		{status.GetVerified(), statusv1.Presence_PRESENCE_VERIFIED},
		{status.GetReceived(), statusv1.Presence_PRESENCE_RECEIVED},
		{status.GetAnnounced(), statusv1.Presence_PRESENCE_ANNOUNCED},
	}
	for _, at := range stages {
		if !bytes.Equal(at.stage.GetRevision().GetContentId(), content[:]) {
			continue
		}
		if status.GetState() == statusv1.SyncState_SYNC_STATE_OBSERVING && at.presence == statusv1.Presence_PRESENCE_HEALTHY {
			if status.GetHealthySince() == nil {
				continue // it was there once, and no longer is
			}
			return at.presence, at.stage.GetTime()
		}
		if at.presence == statusv1.Presence_PRESENCE_HEALTHY && !sameContent(status.GetApplied(), status.GetHealthy()) {
			return statusv1.Presence_PRESENCE_SUPERSEDED, status.GetApplied().GetTime()
		}
		return at.presence, at.stage.GetTime()
	}
	return statusv1.Presence_PRESENCE_ABSENT, nil
}

func sameContent(a, b *statusv1.Stage) bool {
	return bytes.Equal(a.GetRevision().GetContentId(), b.GetRevision().GetContentId())
}

func reason(p statusv1.Presence, status *statusv1.Sync) string {
	if p == statusv1.Presence_PRESENCE_HEALTHY {
		return ""
	}
	if len(status.GetProblems()) > 0 {
		return status.GetProblems()[0].GetMessage()
	}
	switch p {
	case statusv1.Presence_PRESENCE_ABSENT:
		return "The Sync's content differs from this commit's: it has not come here, or something else took its place."
	case statusv1.Presence_PRESENCE_APPLIED:
		return fmt.Sprintf("%d of %d objects are Current.", status.GetObjects().GetCurrent(), status.GetObjects().GetTotal())
	case statusv1.Presence_PRESENCE_SUPERSEDED:
		return "Something newer is applied."
	default:
		return "Under way."
	}
}

// whereImage looks for a digest, a tag or both in what running pods report.
func whereImage(subject string, syncs []*statusv1.Sync, resp *statusv1.WhereIsResponse) error {
	want, err := parseImage(subject)
	if err != nil {
		return err
	}
	resp.Digest = want.GetDigest()
	for _, status := range syncs {
		location := newLocation(status)
		for _, image := range status.GetImages() {
			if want.matches(image) {
				location.Images = append(location.Images, image)
			}
		}
		if len(location.GetImages()) == 0 {
			continue
		}
		location.Presence = statusv1.Presence_PRESENCE_APPLIED
		location.Since = status.GetApplied().GetTime()
		if status.GetHealthySince() != nil {
			location.Presence, location.Since = statusv1.Presence_PRESENCE_HEALTHY, status.GetHealthySince()
		}
		location.Reason = reason(location.GetPresence(), status)
		resp.Locations = append(resp.Locations, location)
	}
	return nil
}

// wantedImage is what a person asked for: empty fields match everything.
type wantedImage struct{ *revisionv1.Image }

func parseImage(subject string) (wantedImage, error) {
	if strings.HasPrefix(subject, "sha256:") {
		return wantedImage{&revisionv1.Image{Digest: subject}}, nil
	}
	rest, digest, _ := strings.Cut(subject, "@")
	image := &revisionv1.Image{Repository: rest, Digest: digest}
	if at := strings.LastIndexByte(rest, ':'); at > strings.LastIndexByte(rest, '/') {
		image.Repository, image.Tag = rest[:at], rest[at+1:]
	}
	if image.GetRepository() == "" {
		return wantedImage{}, fault.New(fault.Invalid, "image %q is neither sha256:<hex> nor repository[:tag][@digest]", subject)
	}
	return wantedImage{image}, nil
}

func (w wantedImage) matches(running *revisionv1.Image) bool {
	repository := running.GetRepository()
	return (w.GetRepository() == "" || repository == w.GetRepository() || strings.HasSuffix(repository, "/"+w.GetRepository())) &&
		either(w.GetTag(), running.GetTag()) && either(w.GetDigest(), running.GetDigest())
}

// SortImages orders images by repository, tag and digest, as every status lists them.
func SortImages(images []*revisionv1.Image) {
	slices.SortFunc(images, func(a, b *revisionv1.Image) int {
		return strings.Compare(a.GetRepository()+"\x00"+a.GetTag()+"\x00"+a.GetDigest(), b.GetRepository()+"\x00"+b.GetTag()+"\x00"+b.GetDigest())
	})
}
