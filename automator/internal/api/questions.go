package api

import (
	"context"

	"github.com/tandem-cd/tandem/automator/internal/relay"
	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// Clusters answer questions.
type Clusters interface {
	// Ask has a cluster answer a question and calls each with every part of the answer.
	Ask(ctx context.Context, cluster string, asked relay.Question, each func(*statusv1.AskResponse) error) error
}

// Questions hands people's questions about Syncs to the clusters.
type Questions struct {
	clusters Clusters
	state    *fleet.State
	contents fleet.Contents
}

// NewQuestions returns the way to clusters. What state knows of a Sync says in which repository contents looks for commits.
func NewQuestions(clusters Clusters, state *fleet.State, contents fleet.Contents) *Questions {
	return &Questions{clusters: clusters, state: state, contents: contents}
}

// Ask has a cluster answer a question.
func (q *Questions) Ask(ctx context.Context, req *statusv1.AskRequest, each func(*statusv1.AskResponse) error) error {
	asked := relay.Question{Namespace: req.GetSync().GetNamespace(), Name: req.GetSync().GetName()}
	switch req.GetQuestion().(type) {
	case *statusv1.AskRequest_Tree:
		asked.Kind = relayv1.QueryKind_QUERY_KIND_RESOURCE_TREE
	case *statusv1.AskRequest_Events:
		asked.Kind = relayv1.QueryKind_QUERY_KIND_EVENTS
	case *statusv1.AskRequest_Diff:
		asked.Kind = relayv1.QueryKind_QUERY_KIND_DIFF
		var err error
		if asked.Commit, err = q.commit(ctx, req.GetSync(), req.GetDiff().GetCommit()); err != nil {
			return err
		}
	default:
		return fault.New(fault.Invalid, "nothing is asked that this automator knows; upgrade it")
	}
	return q.clusters.Ask(ctx, req.GetSync().GetCluster(), asked, each)
}

// commit finds the commit that somebody means; zero for none.
func (q *Questions) commit(ctx context.Context, key *statusv1.SyncKey, text string) (gitobject.ID, error) {
	if text == "" {
		return gitobject.ID{}, nil
	}
	if id, err := gitobject.ParseID(text); err == nil {
		return id, nil
	}
	sync := q.state.Get(fleet.Key{Cluster: key.GetCluster(), Namespace: key.GetNamespace(), Name: key.GetName()})
	if sync == nil {
		return gitobject.ID{}, fault.New(fault.NotFound, "cluster %q reports no Sync %s/%s, so nobody knows in which repository to look for %q; `tandem status` lists the Syncs", key.GetCluster(), key.GetNamespace(), key.GetName(), text)
	}
	return q.contents.ResolveCommit(ctx, sync.GetSource().GetRepository(), text)
}
