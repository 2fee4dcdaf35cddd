package relay

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
)

// Limits of one transfer; they are the protocol's, kept here so that the server cannot break them.
const (
	maxCommits  = 10_000
	maxObjects  = 1_000_000
	maxTransfer = 64 << 20
	maxChunk    = 128 << 10
)

// Objects is where received objects go.
type Objects interface {
	gitobject.TreeReader
	Put(id gitobject.ID, kind gitobject.Type, content []byte) error
}

// received is what a whole transfer brought.
type received struct {
	chain []gitobject.ID
	until gitobject.ID
	// objects and bytes are how much that was.
	objects int32
	bytes   int64
}

// receiver is the state machine of one transfer: header, then objects, then trailer. Anything else is an error, and
// nothing of the transfer is used.
type receiver struct {
	objects Objects
	header  *relayv1.FetchHeader
	open    *opened // the object whose chunks are coming
	count   int32
	bytes   int64
	out     received
	done    bool
}

// opened is an object that is not complete yet.
type opened struct {
	id      gitobject.ID
	kind    gitobject.Type
	content []byte
	size    int64
}

// receive reads a transfer to its end.
func receive(ctx context.Context, stream grpc.ServerStreamingClient[relayv1.FetchResponse], objects Objects) (received, error) {
	r := &receiver{objects: objects}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return r.finish()
		}
		if err != nil {
			return received{}, err
		}
		if err := r.take(ctx, message); err != nil {
			return received{}, err
		}
	}
}

func (r *receiver) finish() (received, error) {
	if !r.done {
		return received{}, fault.New(fault.Internal, "the transfer ended before its trailer; nothing of it is used")
	}
	r.out.objects, r.out.bytes = r.count, r.bytes
	return r.out, nil
}

func (r *receiver) take(ctx context.Context, message *relayv1.FetchResponse) error {
	if r.done {
		return broken("something follows the trailer")
	}
	if header, ok := message.GetPiece().(*relayv1.FetchResponse_Header); ok {
		return r.start(header.Header)
	}
	if r.header == nil {
		return broken("the header is missing")
	}
	chunk, isChunk := message.GetPiece().(*relayv1.FetchResponse_Chunk)
	if isChunk != (r.open != nil) {
		return broken("an object's chunks are incomplete or belong to none")
	}
	if isChunk {
		return r.more(chunk.Chunk.GetContent())
	}
	return r.object(ctx, message)
}

func broken(format string, args ...any) error {
	return fault.New(fault.Invalid, "broken transfer: %w; nothing of it is used", fmt.Errorf(format, args...))
}

// start checks what is announced against the limits, before anything is received.
func (r *receiver) start(header *relayv1.FetchHeader) error {
	if r.header != nil {
		return broken("a second header")
	}
	if header.GetCommits() < 1 || header.GetCommits() > maxCommits || header.GetObjects() > maxObjects || header.GetBytes() > maxTransfer {
		return broken("%d commits, %d objects and %d bytes break the limits", header.GetCommits(), header.GetObjects(), header.GetBytes())
	}
	until, err := revision.ObjectFromProto(header.GetUntil())
	if err != nil {
		return err
	}
	r.header, r.out.until = header, until
	return nil
}

func (r *receiver) object(ctx context.Context, message *relayv1.FetchResponse) error {
	switch piece := message.GetPiece().(type) {
	case *relayv1.FetchResponse_Commit:
		return r.begin(gitobject.TypeCommit, piece.Commit)
	case *relayv1.FetchResponse_Tree:
		return r.begin(gitobject.TypeTree, piece.Tree)
	case *relayv1.FetchResponse_Blob:
		return r.begin(gitobject.TypeBlob, piece.Blob)
	case *relayv1.FetchResponse_Tag:
		return r.begin(gitobject.TypeTag, piece.Tag)
	case *relayv1.FetchResponse_TreeDelta:
		return r.delta(ctx, piece.TreeDelta)
	case *relayv1.FetchResponse_Trailer:
		return r.end(piece.Trailer)
	default:
		return broken("a piece that this version does not know; upgrade the synchronizer")
	}
}

func (r *receiver) begin(kind gitobject.Type, object *relayv1.FetchedObject) error {
	id, err := revision.ObjectFromProto(object.GetId())
	if err != nil {
		return err
	}
	if object.GetSize() < 0 || object.GetSize() > gitobject.MaxObjectSize {
		return broken("%s %s has %d bytes, more than %d", kind, id, object.GetSize(), gitobject.MaxObjectSize)
	}
	r.open = &opened{id: id, kind: kind, size: object.GetSize()}
	return r.more(object.GetContent())
}

// more adds bytes to the open object and stores it when it is complete.
func (r *receiver) more(content []byte) error {
	o := r.open
	r.bytes += int64(len(content))
	if len(content) > maxChunk || int64(len(o.content)+len(content)) > o.size {
		return broken("%s %s is longer than it said", o.kind, o.id)
	}
	if r.bytes > r.header.GetBytes() {
		return broken("more than the %d bytes of the header arrived", r.header.GetBytes())
	}
	o.content = append(o.content, content...)
	if int64(len(o.content)) < o.size {
		return nil
	}
	r.open = nil
	return r.store(o.id, o.kind, o.content)
}

func (r *receiver) store(id gitobject.ID, kind gitobject.Type, content []byte) error {
	if err := r.objects.Put(id, kind, content); err != nil {
		return fmt.Errorf("object from the automator: %w; nothing of this transfer is used", err)
	}
	r.count++
	if kind == gitobject.TypeCommit {
		r.out.chain = append(r.out.chain, id)
	}
	return nil
}

// delta rebuilds a tree from one that is held; storing it proves that it is the tree it claims to be.
func (r *receiver) delta(ctx context.Context, p *relayv1.TreeDelta) error {
	id, err := revision.ObjectFromProto(p.GetId())
	if err != nil {
		return err
	}
	base, err := revision.ObjectFromProto(p.GetBase())
	if err != nil {
		return err
	}
	tree, err := r.objects.Tree(ctx, base)
	if err != nil {
		return fmt.Errorf("base of tree %s: %w", id, err)
	}
	delta, err := deltaFromProto(p)
	if err != nil {
		return err
	}
	rebuilt, err := delta.Apply(tree)
	if err != nil {
		return broken("tree %s: %w", id, err)
	}
	return r.store(id, gitobject.TypeTree, rebuilt.Encode())
}

func deltaFromProto(p *relayv1.TreeDelta) (gitobject.Delta, error) {
	delta := gitobject.Delta{Remove: p.GetRemove()}
	for _, e := range p.GetSet() {
		id, err := revision.ObjectFromProto(e.GetId())
		if err != nil {
			return delta, err
		}
		delta.Set = append(delta.Set, gitobject.Entry{Mode: gitobject.Mode(e.GetMode()), Name: e.GetName(), ID: id})
	}
	return delta, nil
}

func (r *receiver) end(trailer *relayv1.FetchTrailer) error {
	if trailer.GetObjects() != r.count || r.header.GetObjects() != r.count || int(r.header.GetCommits()) != len(r.out.chain) {
		return broken("%d objects and %d commits arrived, %d and %d were promised", r.count, len(r.out.chain), r.header.GetObjects(), r.header.GetCommits())
	}
	if r.out.chain[len(r.out.chain)-1] != r.out.until {
		return broken("the chain does not end with %s", r.out.until)
	}
	r.done = true
	return nil
}
