package converge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/objects"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
	"github.com/tandem-cd/tandem/synchronizer/internal/syncs"
)

// receive takes what arrived and has it verified. It reports whether there is a verified commit to converge on.
func (p *pass) receive(ctx context.Context) bool {
	p.noteSource()
	now := judgement{delivery: p.delivery, generation: p.sync.Generation, accepted: p.sync.Annotations[v1alpha1.AnnotationAccept]}
	if p.delivery != nil && now != p.work.judged {
		if err := p.verify(ctx); err != nil {
			p.failed("delivery not verified", err)
		} else {
			p.work.judged = now
		}
	}
	return !p.work.verified.IsZero()
}

// noteSource shows what is known before anything arrived.
func (p *pass) noteSource() {
	w := p.work
	w.problems.source = nil
	if p.trouble == nil {
		return
	}
	problem := v1alpha1.Problem{Kind: v1alpha1.ProblemSource, Message: sentence(p.trouble)}
	if mismatch, ok := errors.AsType[*objects.MismatchError](p.trouble); ok {
		problem.Kind, problem.GitObject = v1alpha1.ProblemReceive, mismatch.ID.String()
	}
	w.problems.source = []v1alpha1.Problem{problem}
}

// verify checks the delivered chain and moves the Sync to the last commit that passed.
func (p *pass) verify(ctx context.Context) error {
	w, d := p.work, p.delivery
	chain := d.Chains[nameOf(p.sync)]
	content, err := p.loop.deps.Trees.ContentID(ctx, d.Commit, p.paths)
	if err != nil {
		return fmt.Errorf("content of %s: %w", d.Commit, err)
	}
	changed := content != w.content
	if changed {
		p.received(content)
	}
	verdict, err := p.loop.deps.Verifier.Verify(ctx, VerifyRequest{
		Sync: p.sync, Paths: p.paths, Chain: chain, Tag: d.Tag, Seen: d.Received, Accepted: accepted(p.sync),
	})
	if err != nil {
		return fmt.Errorf("verify %s: %w", d.Commit, err)
	}
	p.loop.metrics.judged(verdict.Refusal != nil)
	if verdict.Refusal != nil {
		p.refused(*verdict.Refusal, content)
	} else {
		w.problems.verify = nil
	}
	if !verdict.Verified.IsZero() {
		if err := p.moveTo(ctx, verdict.Verified); err != nil {
			return err
		}
	}
	p.done(verdict.Refusal == nil)
	return nil
}

// received notes that new content arrived.
func (p *pass) received(content revision.ContentID) {
	w, d := p.work, p.delivery
	if now := w.status.Received; now != nil && now.ContentID == content.String() && now.Commit == d.Commit.String() {
		return
	}
	announced := d.Announced
	w.status.Announced = &v1alpha1.Stage{Commit: d.Commit.String(), ContentID: content.String(), Time: metav1.NewMicroTime(announced)}
	w.status.Received = p.reach(report.Received, d.Commit, content, d.Received, fmt.Sprintf("Received %.12s.", d.Commit))
}

// refused notes that verification stopped.
func (p *pass) refused(problem v1alpha1.Problem, content revision.ContentID) {
	w := p.work
	known := slices.Contains(w.problems.verify, problem)
	w.problems.verify = []v1alpha1.Problem{problem}
	if known {
		return
	}
	p.fact(report.Refused, p.delivery.Commit, content, problem.Message)
	p.record(true, "Refused", problem.Message)
}

// moveTo makes a verified commit the one to converge on.
func (p *pass) moveTo(ctx context.Context, commit gitobject.ID) error {
	w := p.work
	content, err := p.loop.deps.Trees.ContentID(ctx, commit, p.paths)
	if err != nil {
		return fmt.Errorf("content of %s: %w", commit, err)
	}
	w.verified = commit
	if content == w.content && w.status.Verified != nil {
		return nil // the same state under another commit: nothing follows from it
	}
	w.content, w.current, w.status.VerifiedPaths = content, false, p.paths
	w.status.Verified = p.reach(report.Verified, commit, content, now(), fmt.Sprintf("Verified %.12s.", commit))
	p.loop.logger(p.key).Info("commit verified", zap.Stringer(telemetry.Commit, commit), zap.String(telemetry.ContentID, content.Short()))
	return nil
}

// done lets the relay start from the verified commit next time. A refused delivery is kept: a person may accept it.
func (p *pass) done(all bool) {
	l := p.loop
	l.mu.Lock()
	e := l.entries[p.key]
	moved := false
	if e != nil {
		if !p.work.verified.IsZero() && e.base != p.work.verified && all {
			e.base, moved = p.work.verified, true
		}
		if all && e.delivery == p.delivery {
			e.delivery = nil
		}
	}
	l.mu.Unlock()
	if moved {
		l.rebase()
	}
}

// accepted returns the commits that the Sync's annotation names.
func accepted(s *v1alpha1.Sync) []gitobject.ID {
	var ids []gitobject.ID
	for text := range strings.SplitSeq(s.Annotations[v1alpha1.AnnotationAccept], ",") {
		if id, err := gitobject.ParseID(strings.TrimSpace(text)); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// record has a Kubernetes Event written when the pass is published.
func (p *pass) record(warning bool, reason, message string) {
	p.events = append(p.events, syncs.Event{Sync: p.sync, Warning: warning, Reason: reason, Message: message})
}
