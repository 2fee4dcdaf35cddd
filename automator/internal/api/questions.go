package api

import (
	"context"

	"github.com/tandem-cd/tandem/automator/internal/relay"
	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
)

// Clusters answer questions.
type Clusters interface {
	// Ask has a cluster answer a question and calls each with every part of the answer.
	Ask(ctx context.Context, cluster string, asked relay.Question, each func(*statusv1.AskResponse) error) error
}

// Questions hands people's questions about Syncs to the clusters.
type Questions struct{ clusters Clusters }

// NewQuestions returns the way to clusters.
func NewQuestions(clusters Clusters) *Questions { return &Questions{clusters: clusters} }

// Ask has a cluster answer a question.
func (q *Questions) Ask(ctx context.Context, req *statusv1.AskRequest, each func(*statusv1.AskResponse) error) error {
	asked := relay.Question{Namespace: req.GetSync().GetNamespace(), Name: req.GetSync().GetName()}
	switch req.GetQuestion().(type) {
	case *statusv1.AskRequest_Tree:
		asked.Kind = relayv1.QueryKind_QUERY_KIND_RESOURCE_TREE
	case *statusv1.AskRequest_Events:
		asked.Kind = relayv1.QueryKind_QUERY_KIND_EVENTS
	default:
		return fault.New(fault.Invalid, "nothing is asked that this automator knows; upgrade it")
	}
	return q.clusters.Ask(ctx, req.GetSync().GetCluster(), asked, each)
}
