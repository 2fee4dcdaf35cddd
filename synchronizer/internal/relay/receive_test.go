package relay

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protodelim"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/internal/objects"
)

// script is a transfer whose messages are given, then an end.
type script struct {
	grpc.ServerStreamingClient[relayv1.FetchResponse]
	messages []*relayv1.FetchResponse
	end      error
}

func (s *script) Recv() (*relayv1.FetchResponse, error) {
	if len(s.messages) == 0 {
		return nil, s.end
	}
	message := s.messages[0]
	s.messages = s.messages[1:]
	return message, nil
}

func hash(t testing.TB, kind gitobject.Type, content []byte) gitobject.ID {
	t.Helper()
	id, err := gitobject.Hash(gitobject.SHA1, kind, content)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func person() gitobject.Person {
	return gitobject.Person{Name: "a", Email: "a@b", When: time.Unix(1, 0)}
}

// good is a transfer of one commit with one file.
type good struct {
	commit, tree, blob          []byte
	commitID, treeID, blobID    gitobject.ID
	header, trailer             *relayv1.FetchResponse
	commitMsg, treeMsg, blobMsg *relayv1.FetchResponse
}

func object(t testing.TB, kind gitobject.Type, content []byte) *relayv1.FetchedObject {
	t.Helper()
	return &relayv1.FetchedObject{Id: revision.ObjectToProto(hash(t, kind, content)), Size: int64(len(content)), Content: content}
}

func newGood(t testing.TB) *good {
	t.Helper()
	g := &good{blob: []byte("kind: ConfigMap\n")}
	g.blobID = hash(t, gitobject.TypeBlob, g.blob)
	g.tree = gitobject.Tree{{Mode: gitobject.ModeFile, Name: "a.yaml", ID: g.blobID}}.Encode()
	g.treeID = hash(t, gitobject.TypeTree, g.tree)
	g.commit = (&gitobject.Commit{Tree: g.treeID, Author: person(), Committer: person(), Message: "m"}).Encode()
	g.commitID = hash(t, gitobject.TypeCommit, g.commit)
	g.header = &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Header{Header: &relayv1.FetchHeader{
		Commits: 1, Objects: 3, Bytes: int64(len(g.commit) + len(g.tree) + len(g.blob)), Until: revision.ObjectToProto(g.commitID),
	}}}
	g.commitMsg = &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Commit{Commit: object(t, gitobject.TypeCommit, g.commit)}}
	g.treeMsg = &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Tree{Tree: object(t, gitobject.TypeTree, g.tree)}}
	g.blobMsg = &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Blob{Blob: object(t, gitobject.TypeBlob, g.blob)}}
	g.trailer = &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Trailer{Trailer: &relayv1.FetchTrailer{Objects: 3}}}
	return g
}

func openStore(t testing.TB) *objects.Store {
	t.Helper()
	store, err := objects.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestReceive(t *testing.T) {
	t.Parallel()
	g := newGood(t)
	half := len(g.blob) / 2
	first := &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Blob{Blob: &relayv1.FetchedObject{
		Id: revision.ObjectToProto(g.blobID), Size: int64(len(g.blob)), Content: g.blob[:half],
	}}}
	second := &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Chunk{Chunk: &relayv1.Chunk{Content: g.blob[half:]}}}
	cases := map[string]struct {
		reason string
		steps  []*relayv1.FetchResponse
	}{
		"Whole":   {reason: "Every object in one message.", steps: []*relayv1.FetchResponse{g.header, g.commitMsg, g.treeMsg, g.blobMsg, g.trailer}},
		"Chunked": {reason: "An object may come in pieces.", steps: []*relayv1.FetchResponse{g.header, g.commitMsg, g.treeMsg, first, second, g.trailer}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := openStore(t)
			got, err := receive(t.Context(), &script{messages: tc.steps, end: io.EOF}, store)
			if err != nil {
				t.Fatalf("%s\nreceive(...): %v", tc.reason, err)
			}
			complete, err := store.Complete(t.Context(), g.commitID, []string{""})
			if err != nil || !complete || got.until != g.commitID || len(got.chain) != 1 {
				t.Errorf("%s\nreceive(...): got %v, complete %v, %v", tc.reason, got, complete, err)
			}
		})
	}
}

func TestReceiveRefusesEveryOtherConversation(t *testing.T) {
	t.Parallel()
	g := newGood(t)
	evil := &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Blob{Blob: &relayv1.FetchedObject{
		Id: revision.ObjectToProto(g.blobID), Size: 4, Content: []byte("evil"),
	}}}
	part := &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Blob{Blob: &relayv1.FetchedObject{
		Id: revision.ObjectToProto(g.blobID), Size: int64(len(g.blob)), Content: g.blob[:3],
	}}}
	huge := &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Header{Header: &relayv1.FetchHeader{Commits: 1, Objects: 1, Bytes: maxTransfer + 1}}}
	long := &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Chunk{Chunk: &relayv1.Chunk{Content: make([]byte, maxChunk+1)}}}
	elsewhere := &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Header{Header: &relayv1.FetchHeader{
		Commits: 1, Objects: 3, Bytes: 1 << 20, Until: revision.ObjectToProto(g.blobID),
	}}}
	delta := &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_TreeDelta{TreeDelta: &relayv1.TreeDelta{
		Id: revision.ObjectToProto(g.treeID), Base: revision.ObjectToProto(g.blobID),
	}}}
	cases := map[string]struct {
		steps []*relayv1.FetchResponse
		end   error
		want  string
	}{
		"NoTrailer":    {steps: []*relayv1.FetchResponse{g.header, g.commitMsg, g.treeMsg, g.blobMsg}, end: io.EOF, want: "before its trailer"},
		"NoHeader":     {steps: []*relayv1.FetchResponse{g.commitMsg}, end: io.EOF, want: "header is missing"},
		"TwoHeaders":   {steps: []*relayv1.FetchResponse{g.header, g.header}, end: io.EOF, want: "second header"},
		"Evil":         {steps: []*relayv1.FetchResponse{g.header, evil}, end: io.EOF, want: g.blobID.String()},
		"Missing":      {steps: []*relayv1.FetchResponse{g.header, g.commitMsg, g.treeMsg, g.trailer}, end: io.EOF, want: "were promised"},
		"LooseChunk":   {steps: []*relayv1.FetchResponse{g.header, long}, end: io.EOF, want: "belong to none"},
		"MissingChunk": {steps: []*relayv1.FetchResponse{g.header, part, g.treeMsg}, end: io.EOF, want: "incomplete"},
		"LongChunk":    {steps: []*relayv1.FetchResponse{g.header, part, long}, end: io.EOF, want: "longer than it said"},
		"Huge":         {steps: []*relayv1.FetchResponse{huge}, end: io.EOF, want: "break the limits"},
		"MoreThanSaid": {steps: []*relayv1.FetchResponse{g.header, g.commitMsg, g.treeMsg, g.blobMsg, g.blobMsg}, end: io.EOF, want: "more than the"},
		"Elsewhere":    {steps: []*relayv1.FetchResponse{elsewhere, g.commitMsg, g.treeMsg, g.blobMsg, g.trailer}, end: io.EOF, want: "does not end with"},
		"NoBase":       {steps: []*relayv1.FetchResponse{g.header, g.commitMsg, delta}, end: io.EOF, want: "base of tree"},
		"AfterTrailer": {steps: []*relayv1.FetchResponse{g.header, g.commitMsg, g.treeMsg, g.blobMsg, g.trailer, g.blobMsg}, end: io.EOF, want: "follows the trailer"},
		"Unknown":      {steps: []*relayv1.FetchResponse{g.header, {}}, end: io.EOF, want: "upgrade the synchronizer"},
		"Cut":          {steps: []*relayv1.FetchResponse{g.header}, end: errors.New("cut"), want: "cut"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := receive(t.Context(), &script{messages: tc.steps, end: tc.end}, openStore(t))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("receive(...): got %v, %v; want an error with %q", got, err, tc.want)
			}
		})
	}
}

// FuzzReceive lets bytes choose the conversation: whatever comes, a transfer that is accepted is complete.
func FuzzReceive(f *testing.F) {
	g := newGood(f)
	pieces := []*relayv1.FetchResponse{g.header, g.commitMsg, g.treeMsg, g.blobMsg, g.trailer, {}}
	f.Add([]byte{0, 1, 2, 3, 4})
	f.Add([]byte{0, 1, 2, 4})
	f.Add([]byte{4, 3, 2, 1, 0})
	f.Fuzz(func(t *testing.T, choice []byte) {
		var steps []*relayv1.FetchResponse
		for _, c := range choice {
			steps = append(steps, pieces[int(c)%len(pieces)])
		}
		store := openStore(t)
		got, err := receive(t.Context(), &script{messages: steps, end: io.EOF}, store)
		if err != nil {
			return
		}
		complete, err := store.Complete(t.Context(), got.until, []string{""})
		if err != nil || !complete {
			t.Errorf("accepted %v, complete %v, %v", choice, complete, err)
		}
	})
}

// FuzzReceiveBytes lets bytes be the conversation: whatever an automator sends, what is accepted is complete.
func FuzzReceiveBytes(f *testing.F) {
	g := newGood(f)
	half := len(g.blob) / 2
	first := &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Blob{Blob: &relayv1.FetchedObject{
		Id: revision.ObjectToProto(g.blobID), Size: int64(len(g.blob)), Content: g.blob[:half],
	}}}
	second := &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_Chunk{Chunk: &relayv1.Chunk{Content: g.blob[half:]}}}
	delta := &relayv1.FetchResponse{Piece: &relayv1.FetchResponse_TreeDelta{TreeDelta: &relayv1.TreeDelta{
		Id: revision.ObjectToProto(g.treeID), Base: revision.ObjectToProto(g.treeID), Remove: []string{"a.yaml"},
		Set: []*relayv1.TreeEntry{{Mode: uint32(gitobject.ModeFile), Name: "a.yaml", Id: revision.ObjectToProto(g.blobID)}},
	}}}
	for _, conversation := range [][]*relayv1.FetchResponse{
		{g.header, g.commitMsg, g.treeMsg, g.blobMsg, g.trailer},
		{g.header, g.commitMsg, g.treeMsg, first, second, g.trailer},
		{g.header, g.commitMsg, g.treeMsg, g.blobMsg, delta, g.trailer},
	} {
		var written bytes.Buffer
		for _, message := range conversation {
			if _, err := protodelim.MarshalTo(&written, message); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(written.Bytes())
	}
	f.Fuzz(func(t *testing.T, conversation []byte) {
		var steps []*relayv1.FetchResponse
		for reader := bufio.NewReader(bytes.NewReader(conversation)); ; {
			message := &relayv1.FetchResponse{}
			if protodelim.UnmarshalFrom(reader, message) != nil {
				break
			}
			steps = append(steps, message)
		}
		store := openStore(t)
		got, err := receive(t.Context(), &script{messages: steps, end: io.EOF}, store)
		if err != nil {
			return
		}
		if !store.Has(got.until) || len(got.chain) == 0 || got.chain[len(got.chain)-1] != got.until {
			t.Errorf("accepted a chain %v until %s", got.chain, got.until)
		}
	})
}

// scriptedRelay serves transfers from a function and follows by handing out messages.
type scriptedRelay struct {
	relayv1.UnimplementedRelayServiceServer
	follow func(*relayv1.FollowRequest, grpc.ServerStreamingServer[relayv1.FollowResponse]) error
	fetch  func(*relayv1.FetchRequest, grpc.ServerStreamingServer[relayv1.FetchResponse]) error
}

func (s *scriptedRelay) Follow(req *relayv1.FollowRequest, stream grpc.ServerStreamingServer[relayv1.FollowResponse]) error {
	return s.follow(req, stream)
}

func (s *scriptedRelay) Fetch(req *relayv1.FetchRequest, stream grpc.ServerStreamingServer[relayv1.FetchResponse]) error {
	return s.fetch(req, stream)
}

// wait returns what arrives on a channel, or fails the test when nothing does.
func wait[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing arrived within a minute")
		panic("unreachable")
	}
}
