package synchronizer

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/converge"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/preview"
	"github.com/tandem-cd/tandem/synchronizer/internal/serve"
)

var errBoom = errors.New("boom")

func TestAReplicaThatStandsByDoesNotSayThatThereIsNoSync(t *testing.T) {
	t.Parallel()
	a := asker{cluster: "dev", answers: serve.NewAnswers(nil), ready: func() error { return errBoom }}
	req := &statusv1.AskRequest{
		Sync:     &statusv1.SyncKey{Cluster: "dev", Namespace: "shop", Name: "web"},
		Question: &statusv1.AskRequest_Tree{Tree: &statusv1.TreeQuestion{}},
	}
	if err := a.Ask(t.Context(), req, nil); !errors.Is(err, errBoom) {
		t.Errorf("got %v, want %v", err, errBoom)
	}
}

func TestADiffSaysOfWhichKindsNothingIsKnown(t *testing.T) {
	t.Parallel()
	at := converge.Standing{Sync: &v1alpha1.Sync{}}
	unlisted := []live.Unlisted{{Kind: schema.GroupKind{Kind: "Secret"}, Refused: errBoom}}
	d := differ{unlisted: func(string) []live.Unlisted { return unlisted }}
	var omitted []string
	each := func(part *statusv1.AskResponse) error {
		omitted = append(omitted, part.GetOmission().GetWhat()+": "+part.GetOmission().GetReason())
		return nil
	}
	if err := d.unseen(at, each); err != nil || len(omitted) != 1 || omitted[0] != "removals and drift of Secret: boom" {
		t.Errorf("a kind that cannot be listed: got %q, %v", omitted, err)
	}
	unlisted = append(unlisted, live.Unlisted{Kind: schema.GroupKind{Kind: "Pod"}})
	if err := d.unseen(at, each); !fault.Is(err, fault.Conflict) {
		t.Errorf("a kind that is being listed: got %v, want Conflict", err)
	}
}

func TestDriftThatStaysIsNotSaidToBeUndone(t *testing.T) {
	t.Parallel()
	if got := entryOf(preview.Change{Action: preview.None, Left: true}).GetAction(); got != "leave" {
		t.Errorf("action: got %q, want leave", got)
	}
	if got := entryOf(preview.Change{Action: preview.Update}).GetAction(); got != "update" {
		t.Errorf("action: got %q, want update", got)
	}
}
