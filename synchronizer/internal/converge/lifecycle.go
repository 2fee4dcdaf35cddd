package converge

import (
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/report"
)

const (
	// recallAge is how old an event may be to be sent again after a restart. An older one has long been stored.
	recallAge = time.Hour
	// contentPrefix is how much of a content id the history keeps.
	contentPrefix = 16
	// formerAttempts is the key under which the attempts of an earlier visit of the present content are kept.
	formerAttempts = "Former"
	// maxRetry bounds the wait between two tries of what failed.
	maxRetry = 5 * time.Minute
)

func now() time.Time { return time.Now() }

func errorField(err error) zap.Field { return zap.Error(err) }

// retryAfter returns how long to wait after a number of failures: 1 s doubled each time up to 5 min, of which a random
// half is taken so that failures do not march in step.
func retryAfter(failures int) time.Duration {
	wait := min(time.Second<<min(failures, 16), maxRetry)
	return wait/2 + rand.N(wait/2+1)
}

// fact notes something that happened, to be reported when the pass is published.
func (p *pass) fact(state report.State, commit gitobject.ID, content revision.ContentID, message string) {
	p.factAt(state, commit, content, now(), message)
}

func (p *pass) factAt(state report.State, commit gitobject.ID, content revision.ContentID, at time.Time, message string) int64 {
	attempt := p.attempt(state, content)
	p.facts = append(p.facts, report.Fact{
		Sync: p.sync, State: state, Attempt: attempt, Time: at, Commit: commit, Content: content, Message: message,
	})
	return attempt
}

// reach notes that a revision reached a stage, and returns the stage for the status.
func (p *pass) reach(state report.State, commit gitobject.ID, content revision.ContentID, at time.Time, message string) *v1alpha1.Stage {
	attempt := p.factAt(state, commit, content, at, message)
	return &v1alpha1.Stage{
		Commit: commit.String(), ContentID: content.String(), Time: metav1.NewMicroTime(at.Truncate(time.Microsecond)), Attempt: attempt,
	}
}

// attempt returns how often a content reached a state before, and counts this time. The numbers are in the status, so
// that an event has the same id whichever process sends it.
func (p *pass) attempt(state report.State, content revision.ContentID) int64 {
	status := &p.work.status
	if received := status.Received; state == report.Received && (received == nil || received.ContentID != content.String()) {
		p.turnPage(content)
	}
	if status.Attempts == nil {
		status.Attempts = map[string]int64{}
	}
	attempt := max(status.Attempts[string(state)], status.Attempts[formerAttempts])
	status.Attempts[string(state)] = attempt + 1
	return attempt
}

// turnPage moves the attempts of the present content into the history and takes those of the new one out of it.
func (p *pass) turnPage(content revision.ContentID) {
	status := &p.work.status
	if status.Received != nil {
		most := int64(0)
		for _, n := range status.Attempts {
			most = max(most, n)
		}
		status.History = slices.Insert(status.History, 0, v1alpha1.Former{Content: shorten(status.Received.ContentID), Attempts: most})
	}
	status.Attempts = map[string]int64{}
	at := slices.IndexFunc(status.History, func(f v1alpha1.Former) bool { return f.Content == shorten(content.String()) })
	if at >= 0 {
		status.Attempts[formerAttempts] = status.History[at].Attempts
		status.History = slices.Delete(status.History, at, at+1)
	}
	status.History = status.History[:min(len(status.History), v1alpha1.MaxHistory)]
}

func shorten(content string) string { return content[:min(len(content), contentPrefix)] }

// recall reports the newest facts of a former process again: it may have been killed before the automator had them.
func (p *pass) recall() {
	status := p.work.status
	for state, stage := range map[report.State]*v1alpha1.Stage{
		report.Received: status.Received, report.Verified: status.Verified, report.Applied: status.Applied, report.Healthy: status.Healthy,
	} {
		if stage == nil || time.Since(stage.Time.Time) > recallAge {
			continue
		}
		commit, err := gitobject.ParseID(stage.Commit)
		if err != nil {
			continue
		}
		content, err := revision.ParseContentID(stage.ContentID)
		if err != nil {
			continue
		}
		p.facts = append(p.facts, report.Fact{
			Sync: p.sync, State: state, Attempt: stage.Attempt, Time: stage.Time.Time, Commit: commit, Content: content,
			Message: string(state) + " (reported again after a restart).", Objects: status.Objects,
		})
	}
}
