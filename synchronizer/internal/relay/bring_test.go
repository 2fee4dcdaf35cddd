package relay

import (
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// idle follows without a word.
func idle(_ *relayv1.FollowRequest, stream grpc.ServerStreamingServer[relayv1.FollowResponse]) error {
	<-stream.Context().Done()
	return nil
}

func TestBringFetchesApart(t *testing.T) {
	t.Parallel()
	g := newGood(t)
	client, h := start(t, &scriptedRelay{
		follow: idle,
		fetch: func(_ *relayv1.FetchRequest, stream grpc.ServerStreamingServer[relayv1.FetchResponse]) error {
			return g.send(stream, 5)
		},
	}, Tree{Sync: "apps/web", Paths: []string{""}})
	apart := openStore(t)
	chain, err := client.Bring(t.Context(), apart, source, gitobject.ID{}, g.commitID, []string{""})
	if err != nil {
		t.Fatal(err)
	}
	if len(chain.Commits) != 1 || chain.Commits[0] != g.commitID || chain.Rewritten {
		t.Errorf("chain: got %+v, want %s alone", chain, g.commitID)
	}
	if complete, err := apart.Complete(t.Context(), g.commitID, []string{""}); err != nil || !complete {
		t.Errorf("what was brought is not there: %t, %v", complete, err)
	}
	if complete, err := client.store.Complete(t.Context(), g.commitID, []string{""}); err != nil || complete {
		t.Errorf("it is in the store of what is followed: %t, %v", complete, err)
	}
	select {
	case d := <-h.deliveries:
		t.Errorf("somebody was told: %+v", d)
	default:
	}
}

func TestBringWithoutAWayFromTheBase(t *testing.T) {
	t.Parallel()
	g := newGood(t)
	var asked atomic.Int32
	client, _ := start(t, &scriptedRelay{
		follow: idle,
		fetch: func(req *relayv1.FetchRequest, stream grpc.ServerStreamingServer[relayv1.FetchResponse]) error {
			asked.Add(1)
			if req.GetHeld() != nil {
				return fault.New(fault.Stale, "no way")
			}
			return g.send(stream, 5)
		},
	}, Tree{Sync: "apps/web", Paths: []string{""}})
	base, err := gitobject.ParseID("1234567890123456789012345678901234567890")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := client.Bring(t.Context(), openStore(t), source, base, g.commitID, []string{""})
	if err != nil || !chain.Rewritten || len(chain.Commits) != 1 || asked.Load() != 2 {
		t.Errorf("got %+v, %v after %d transfers; want the commit alone, as rewritten, after 2", chain, err, asked.Load())
	}
}
