package report

import (
	"testing"

	"google.golang.org/protobuf/proto"

	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

func TestObservation(t *testing.T) {
	t.Parallel()
	s := &v1alpha1.Sync{}
	if observationToProto(s) != nil {
		t.Error("an observation of a Sync that applies")
	}
	commit, err := gitobject.Hash(gitobject.SHA1, gitobject.TypeCommit, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	content := revision.ContentID{7}
	s.Status.Observed = &v1alpha1.Observation{
		Commit: commit.String(), ContentID: content.String(),
		Create: 1, Update: 2, Adopt: 3, Recreate: 4, Prune: 5, Refused: 6, Equal: 7, ChangesOmitted: 8,
		Changes: []v1alpha1.Change{{Object: "ConfigMap/shop/a", Action: "adopt", Reason: "why", Fields: []string{"data.a"}, FieldsOmitted: 9, File: "a.yaml", Line: 10}},
	}
	want := &statusv1.Observation{
		Revision: &revisionv1.Revision{Commit: revision.ObjectToProto(commit), ContentId: content[:]},
		Create:   1, Update: 2, Adopt: 3, Recreate: 4, Prune: 5, Refused: 6, Equal: 7, ChangesOmitted: 8,
		Changes: []*statusv1.ObservedChange{{Object: "ConfigMap/shop/a", Action: "adopt", Reason: "why", Fields: []string{"data.a"}, FieldsOmitted: 9, File: "a.yaml", Line: 10}},
	}
	if got := observationToProto(s); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
