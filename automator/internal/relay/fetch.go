package relay

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/rpc"
)

const (
	// chunkSize bounds the object bytes of one message.
	chunkSize = 128 << 10
	// sendTimeout is how long a receiver may take for a message of a transfer before it is hung up on: others wait.
	sendTimeout = 30 * time.Second
)

// fetchRequest is a checked FetchRequest.
type fetchRequest struct {
	source          revision.Source
	want, held, tag gitobject.ID
	paths           []string
}

// Fetch brings the objects between two commits.
func (s *Server) Fetch(req *relayv1.FetchRequest, stream grpc.ServerStreamingServer[relayv1.FetchResponse]) error {
	ctx := stream.Context()
	if err := admit(ctx, req.GetHello()); err != nil {
		return err
	}
	fetch, err := parseFetch(req)
	if err != nil {
		return err
	}
	began := time.Now()
	s.hub.settled(ctx)
	repo, err := s.allow(ctx, req.GetHello().GetCluster(), fetch)
	if err != nil {
		return err
	}
	plan, err := s.transfer(ctx, req.GetHello().GetCluster(), repo, fetch, stream.Send)
	s.metrics.transferred(began, plan, err)
	return err
}

// transfer puts a transfer together and sends it.
func (s *Server) transfer(ctx context.Context, cluster string, repo Repository, fetch fetchRequest, send func(*relayv1.FetchResponse) error) (*transfer, error) {
	budget := s.budgets.of(cluster)
	done, err := budget.fetch(ctx, cluster)
	if err != nil {
		return nil, err
	}
	defer done()
	plan, err := s.collect(ctx, budget, repo, fetch)
	if err != nil {
		return nil, err
	}
	if err := s.unrecorded.wait(ctx, cluster); err != nil {
		return nil, err
	}
	return plan, s.deliver(ctx, repo, plan, send)
}

// deliver sends a transfer, beside a bounded number of others.
func (s *Server) deliver(ctx context.Context, repo Repository, plan *transfer, send func(*relayv1.FetchResponse) error) error {
	if err := s.held.Acquire(ctx, plan.held()); err != nil {
		return err
	}
	defer s.held.Release(plan.held())
	if err := s.sends.Acquire(ctx, 1); err != nil {
		return err
	}
	defer s.sends.Release(1)
	// A receiver that does not read is hung up on: gRPC gives no other way out of a Send.
	hangup := time.AfterFunc(sendTimeout, func() { rpc.Hangup(ctx) })
	defer hangup.Stop()
	sender := &sender{repo: repo, send: func(message *relayv1.FetchResponse) error {
		hangup.Reset(sendTimeout)
		return send(message)
	}}
	return sender.all(ctx, plan)
}

// collect puts a transfer together, a few at a time.
func (s *Server) collect(ctx context.Context, budget *budget, repo Repository, fetch fetchRequest) (*transfer, error) {
	if err := budget.collects.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer budget.collects.Release(1)
	if err := budget.affords(ctx); err != nil {
		return nil, err
	}
	if err := s.collects.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer s.collects.Release(1)
	plan, err := s.plan(ctx, repo, fetch)
	if err == nil {
		budget.charge(plan.bytes, len(plan.pieces))
	}
	return plan, err
}

func parseFetch(req *relayv1.FetchRequest) (fetch fetchRequest, err error) {
	if fetch.source, err = revision.SourceFromProto(req.GetSource()); err != nil {
		return fetch, err
	}
	if fetch.want, err = revision.ObjectFromProto(req.GetWant()); err != nil {
		return fetch, err
	}
	if fetch.want.IsZero() {
		return fetch, fault.New(fault.Invalid, "no commit is wanted")
	}
	if fetch.held, err = revision.ObjectFromProto(req.GetHeld()); err != nil {
		return fetch, err
	}
	if fetch.tag, err = revision.ObjectFromProto(req.GetTag()); err != nil {
		return fetch, err
	}
	fetch.paths, err = revision.CleanPaths(req.GetPaths())
	return fetch, err
}

// allow checks the grant and that both commits belong to a granted ref: nobody may walk the rest of the repository.
func (s *Server) allow(ctx context.Context, cluster string, fetch fetchRequest) (Repository, error) {
	grants := s.deps.Grants(cluster)
	if err := permit(grants, cluster, fetch.source, fetch.paths); err != nil {
		return nil, err
	}
	repo, ok := s.deps.Repository(fetch.source.Repository)
	if !ok {
		return nil, fault.New(fault.NotFound, "the automator has no repository %q", fetch.source.Repository)
	}
	reachable, err := repo.Reachable(ctx, fetch.want, grantedRefs(grants, fetch.source.Repository))
	if err != nil {
		return nil, err
	}
	if !reachable {
		return nil, fault.New(fault.NotFound, "commit %s is not in the history of a ref that cluster %q is granted", fetch.want, cluster)
	}
	if fetch.tag.IsZero() {
		return repo, nil
	}
	if _, tag, ok := repo.Resolve(ctx, fetch.source.Ref); !ok || tag != fetch.tag {
		return nil, fault.New(fault.NotFound, "%s does not name the tag %s", fetch.source, fetch.tag)
	}
	return repo, nil
}

func (s *Server) plan(ctx context.Context, repo Repository, fetch fetchRequest) (*transfer, error) {
	chain := []gitobject.ID{fetch.want}
	if !fetch.held.IsZero() {
		var err error
		if chain, err = repo.Chain(ctx, fetch.held, fetch.want); err != nil {
			return nil, err
		}
	}
	plan, err := collect(ctx, repo, fetch.paths, fetch.held, chain)
	if err != nil || fetch.tag.IsZero() || plan.until != fetch.want {
		return plan, err
	}
	tag, err := repo.Tag(ctx, fetch.tag)
	if err != nil {
		return nil, fmt.Errorf("read tag %s: %w", fetch.tag, err)
	}
	raw := tag.Encode()
	plan.pieces = append(plan.pieces, piece{kind: gitobject.TypeTag, id: fetch.tag, content: raw, size: int64(len(raw))})
	plan.bytes += int64(len(raw))
	return plan, nil
}

// sender writes a transfer to a stream.
type sender struct {
	repo Repository
	send func(*relayv1.FetchResponse) error
}

func (s *sender) all(ctx context.Context, plan *transfer) error {
	header := &relayv1.FetchHeader{
		Commits: int32(plan.commits), Objects: int32(len(plan.pieces)), Bytes: plan.bytes, Until: revision.ObjectToProto(plan.until),
	}
	if err := s.send(&relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Header{Header: header}}); err != nil {
		return err
	}
	for _, p := range plan.pieces {
		if err := s.one(ctx, p); err != nil {
			return err
		}
	}
	trailer := &relayv1.FetchTrailer{Objects: header.GetObjects()}
	return s.send(&relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Trailer{Trailer: trailer}})
}

func (s *sender) one(ctx context.Context, p piece) error {
	if p.delta != nil {
		return s.send(&relayv1.FetchResponse{Piece: &relayv1.FetchResponse_TreeDelta{TreeDelta: deltaToProto(p)}})
	}
	content, err := s.content(ctx, p)
	if err != nil {
		return fmt.Errorf("read %s %s: %w", p.kind, p.id, err)
	}
	first := min(len(content), chunkSize)
	object := &relayv1.FetchedObject{Id: revision.ObjectToProto(p.id), Size: int64(len(content)), Content: content[:first]}
	if err := s.send(wrap(p.kind, object)); err != nil {
		return err
	}
	for rest := content[first:]; len(rest) > 0; {
		n := min(len(rest), chunkSize)
		if err := s.send(&relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Chunk{Chunk: &relayv1.Chunk{Content: rest[:n]}}}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func (s *sender) content(ctx context.Context, p piece) ([]byte, error) {
	switch {
	case p.content != nil:
		return p.content, nil
	case p.kind == gitobject.TypeTree:
		tree, err := s.repo.Tree(ctx, p.id)
		return tree.Encode(), err
	default:
		return s.repo.Blob(ctx, p.id)
	}
}

func wrap(kind gitobject.Type, object *relayv1.FetchedObject) *relayv1.FetchResponse {
	switch kind {
	case gitobject.TypeCommit:
		return &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Commit{Commit: object}}
	case gitobject.TypeTree:
		return &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Tree{Tree: object}}
	case gitobject.TypeTag:
		return &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Tag{Tag: object}}
	default:
		return &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Blob{Blob: object}}
	}
}

func deltaToProto(p piece) *relayv1.TreeDelta {
	delta := &relayv1.TreeDelta{Id: revision.ObjectToProto(p.id), Base: revision.ObjectToProto(p.base), Remove: p.delta.Remove}
	for _, e := range p.delta.Set {
		delta.Set = append(delta.Set, &relayv1.TreeEntry{Mode: uint32(e.Mode), Name: e.Name, Id: revision.ObjectToProto(e.ID)})
	}
	return delta
}
