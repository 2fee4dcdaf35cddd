package api_test

import (
	"context"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/api"
	"github.com/tandem-cd/tandem/automator/internal/relay"
	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

const commit = "1234567890123456789012345678901234567890"

// heard remembers what clusters are asked.
type heard struct {
	cluster string
	asked   relay.Question
}

func (h *heard) Ask(_ context.Context, cluster string, asked relay.Question, _ func(*statusv1.AskResponse) error) error {
	h.cluster, h.asked = cluster, asked
	return nil
}

// ResolveCommit knows one commit in one repository.
func (*heard) ResolveCommit(_ context.Context, repository, prefix string) (gitobject.ID, error) {
	if repository != "deploy" || prefix != commit[:8] {
		return gitobject.ID{}, fault.New(fault.NotFound, "%s has no %s", repository, prefix)
	}
	return gitobject.ParseID(commit)
}

func (*heard) ContentAt(context.Context, string, gitobject.ID, []string) (revision.ContentID, error) {
	return revision.ContentID{}, nil
}

func TestQuestionsGoToTheirCluster(t *testing.T) {
	t.Parallel()
	diff := func(commit string) *statusv1.AskRequest {
		return &statusv1.AskRequest{Question: &statusv1.AskRequest_Diff{Diff: &statusv1.DiffQuestion{Commit: commit}}}
	}
	cases := map[string]struct {
		reason string
		ask    *statusv1.AskRequest
		sync   string
		kind   relayv1.QueryKind
		commit string
		want   fault.Kind
		fails  bool
	}{
		"Tree":        {reason: "A tree.", ask: &statusv1.AskRequest{Question: &statusv1.AskRequest_Tree{}}, sync: "web", kind: relayv1.QueryKind_QUERY_KIND_RESOURCE_TREE},
		"Events":      {reason: "Events.", ask: &statusv1.AskRequest{Question: &statusv1.AskRequest_Events{}}, sync: "web", kind: relayv1.QueryKind_QUERY_KIND_EVENTS},
		"Drift":       {reason: "A diff without a commit.", ask: diff(""), sync: "web", kind: relayv1.QueryKind_QUERY_KIND_DIFF},
		"Commit":      {reason: "A whole commit needs no look.", ask: diff(commit), sync: "none", kind: relayv1.QueryKind_QUERY_KIND_DIFF, commit: commit},
		"Abbreviated": {reason: "An abbreviation is looked up in the Sync's repository.", ask: diff(commit[:8]), sync: "web", kind: relayv1.QueryKind_QUERY_KIND_DIFF, commit: commit},
		"UnknownSync": {reason: "Nobody knows in which repository.", ask: diff(commit[:8]), sync: "none", fails: true, want: fault.NotFound},
		"Unknown":     {reason: "The repository has no such commit.", ask: diff("abcdef12"), sync: "web", fails: true, want: fault.NotFound},
		"Newer":       {reason: "A question of a newer CLI.", ask: &statusv1.AskRequest{}, sync: "web", fails: true, want: fault.Invalid},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, h := fleet.New(), &heard{}
			if err := state.Put(&statusv1.Sync{Cluster: "dev", Namespace: "shop", Name: "web", Source: &revisionv1.Source{Repository: "deploy"}}); err != nil {
				t.Fatal(err)
			}
			tc.ask.Sync = &statusv1.SyncKey{Cluster: "dev", Namespace: "shop", Name: tc.sync}
			err := api.NewQuestions(h, state, h).Ask(t.Context(), tc.ask, nil)
			if tc.fails {
				if !fault.Is(err, tc.want) {
					t.Errorf("%s\nAsk(...): got %v, want %v", tc.reason, err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if !h.asked.Commit.IsZero() {
				got = h.asked.Commit.String()
			}
			if h.cluster != "dev" || h.asked.Kind != tc.kind || h.asked.Name != tc.sync || got != tc.commit {
				t.Errorf("%s\nAsk(...): asked %s %+v", tc.reason, h.cluster, h.asked)
			}
		})
	}
}
