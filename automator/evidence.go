package automator

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/automator/internal/scan"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/automator/internal/verify"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/signature"
)

// evidence answers what clusters say of paths from what they report.
type evidence struct{ state *fleet.State }

// At returns what a cluster says of a path of a source: the state of the Sync whose folder holds it.
func (e evidence) At(cluster string, source revision.Source, path string) update.Report {
	for _, status := range e.state.Syncs(&statusv1.SyncFilter{Cluster: cluster}) {
		if status.GetSource().GetRepository() != source.Repository || status.GetSource().GetRef() != source.Ref || !revision.Covers(status.GetPath(), path) {
			continue
		}
		return reportOf(status)
	}
	return update.Report{}
}

func reportOf(status *statusv1.Sync) update.Report {
	if status.GetHealthySince() == nil {
		return update.Report{State: stateText(status)}
	}
	rev, err := revision.FromProto(status.GetHealthy().GetRevision())
	if err != nil {
		return update.Report{}
	}
	return update.Report{Commit: rev.Commit, Since: status.GetHealthySince().AsTime()}
}

func stateText(status *statusv1.Sync) string {
	if len(status.GetProblems()) > 0 {
		return status.GetProblems()[0].GetMessage()
	}
	switch status.GetState() {
	case statusv1.SyncState_SYNC_STATE_WAITING:
		return "waiting for its first content"
	case statusv1.SyncState_SYNC_STATE_SUSPENDED:
		return "suspended"
	case statusv1.SyncState_SYNC_STATE_OBSERVING:
		return "only observed, and not as Git says"
	default:
		return "rolling out"
	}
}

// watchEvidence wakes the writers when a Sync became healthy, or stopped being so.
func (a *Automator) watchEvidence(ctx context.Context) error {
	since := map[fleet.Key]time.Time{}
	return a.fleet.Watch(ctx, func(changes []fleet.Change) error {
		woken := false
		for _, change := range changes {
			now := change.Sync.GetHealthySince().AsTime()
			if change.Sync.GetHealthySince() == nil {
				now = time.Time{}
			}
			woken = woken || !since[change.Key].Equal(now)
			since[change.Key] = now
			if change.Sync == nil {
				delete(since, change.Key)
			}
		}
		if woken {
			a.imageChanged("", time.Now())
		}
		return nil
	})
}

// images answers what registries have from what the scanner saw.
type images struct{ scanner *scan.Scanner }

// Tags returns what was seen of an image repository so far.
func (i images) Tags(repository string) update.Seen {
	snapshot, ok := i.scanner.Seen(repository)
	if !ok {
		return update.Seen{}
	}
	return update.Seen{
		Tags: snapshot.Listed, Gone: snapshot.Gone, Problem: snapshot.Scan.LastError,
		Looked: !snapshot.Scan.LastAttempt.IsZero() || len(snapshot.Listed)+len(snapshot.Gone) > 0,
	}
}

// Inspect has the images of tags looked at.
func (i images) Inspect(repository string, tags []string) { i.scanner.Inspect(repository, tags) }

// Digest returns what a tag points to.
func (i images) Digest(ctx context.Context, repository, tag string) (string, error) {
	return i.scanner.Resolve(ctx, repository, tag)
}

// signatures is how registries are asked who signed images: by the scanner what tags point to, which remembers it, and by
// what keeps the answers for clusters the rest.
type signatures struct {
	scanner *scan.Scanner
	*verify.Evidence
}

// Hint says that a tag may point to something else by now.
func (s signatures) Hint(repository, tag string) bool { return s.scanner.Hint(repository, tag) }

// Digest returns what a tag points to.
func (s signatures) Digest(ctx context.Context, repository, tag string) (string, error) {
	return s.scanner.Resolve(ctx, repository, tag)
}

// signaturesFor returns what is known about the signatures of an image to a cluster that is granted something of a repository whose
// pipelines name the image's: without that anybody with a certificate could look around in registries by our credentials.
func (a *Automator) signaturesFor(ctx context.Context, cluster string, image signature.Image, seen []byte) (signature.Material, []byte, error) {
	named, known := a.repos.name(cluster, image.Repository)
	switch {
	case named:
		return a.evidence.For(ctx, cluster, image, seen)
	case !known:
		return signature.Material{}, nil, fault.New(fault.Unavailable, "which images cluster %q may ask about is not known yet: the automator has not read all of its repositories since it started", cluster)
	default:
		return signature.Material{}, nil, fault.New(fault.NotFound, "no pipeline of a repository that cluster %q is granted names %s; add it to images of one, and the automator relays its signatures", cluster, image.Repository)
	}
}

// isNamed reports whether a tag points to an image, or an environment runs it by what Git says.
func (a *Automator) isNamed(image signature.Image) bool {
	seen, _ := a.scanner.Seen(image.Repository)
	points := func(t policy.Tag) bool { return t.Digest == image.Digest }
	return slices.ContainsFunc(seen.Listed, points) || slices.ContainsFunc(seen.Gone, points) || a.repos.run(image)
}
