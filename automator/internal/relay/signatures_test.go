package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/signature"
)

var signedDigest = "sha256:" + strings.Repeat("a", 64)

func (w *world) signatures(_ context.Context, cluster string, image signature.Image, seen []byte) (signature.Material, []byte, error) {
	if image.Repository != "ghcr.io/acme/api" {
		return signature.Material{}, nil, fault.New(fault.NotFound, "not for %s", cluster)
	}
	return w.material, fmt.Appendf(nil, "after %s", seen), nil
}

// signaturesOf asks about an image and returns the pieces of the answer.
func (w *world) signaturesOf(t *testing.T, req *relayv1.SignaturesRequest) (pieces []*relayv1.SignaturesResponse, err error) {
	t.Helper()
	req.Hello = hello(1)
	stream, err := w.client.Signatures(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return pieces, nil
		}
		if err != nil {
			return pieces, fault.FromStatus(err)
		}
		pieces = append(pieces, piece)
	}
}

func TestSignaturesAreRelayed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	large := strings.Repeat("x", 2*chunkSize+1)
	w.material = signature.Material{Skipped: 2, Items: []signature.Item{
		{Kind: signature.SimpleSigning, Where: strings.Repeat("w", 2*maxWhere), Body: []byte("a"), Annotations: map[string]string{"b": "cd"}},
		{Kind: signature.Bundle, Body: make([]byte, signature.MaxRelayed)}, // does not fit beside the other
		{Kind: signature.Envelope, Body: []byte(large)},
	}}
	pieces, err := w.signaturesOf(t, &relayv1.SignaturesRequest{Repository: "ghcr.io/acme/api", Digest: signedDigest, Seen: []byte("that")})
	if err != nil {
		t.Fatal(err)
	}
	header := pieces[0].GetHeader()
	if header.GetSignatures() != 2 || header.GetSkipped() != 3 || header.GetBytes() != int64(len("abcd")+len(large)) || string(header.GetVersion()) != "after that" {
		t.Errorf("header: %v", header)
	}
	if len(pieces) != 5 {
		t.Fatalf("%d pieces; want a header, two signatures and two chunks", len(pieces))
	}
	first, second := pieces[1].GetSignature(), pieces[2].GetSignature()
	if first.GetForm() != relayv1.SignatureForm_SIGNATURE_FORM_SIMPLE_SIGNING || len(first.GetWhere()) != maxWhere || first.GetAnnotations()["b"] != "cd" {
		t.Errorf("first: %v", first)
	}
	got := string(second.GetContent()) + string(pieces[3].GetChunk().GetContent()) + string(pieces[4].GetChunk().GetContent())
	if second.GetForm() != relayv1.SignatureForm_SIGNATURE_FORM_ENVELOPE || second.GetSize() != int64(len(large)) || got != large {
		t.Errorf("second: form %v, %d bytes of %d", second.GetForm(), len(got), second.GetSize())
	}
}

func TestWhatIsNoImageHasNoSignatures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cases := map[string]struct {
		repository, digest string
		want               fault.Kind
	}{
		"NotNamed":   {"ghcr.io/acme/other", signedDigest, fault.NotFound},
		"NoDigest":   {"ghcr.io/acme/api", "", fault.Invalid},
		"Tag":        {"ghcr.io/acme/api:1", signedDigest, fault.Invalid},
		"NotWhole":   {"acme/api", signedDigest, fault.Invalid},
		"NoImage":    {"../..", signedDigest, fault.Invalid},
		"BadDigest":  {"ghcr.io/acme/api", "sha256:a", fault.Invalid},
		"TwoDigests": {"ghcr.io/acme/api@" + signedDigest, signedDigest, fault.Invalid},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := w.signaturesOf(t, &relayv1.SignaturesRequest{Repository: tc.repository, Digest: tc.digest}); !fault.Is(err, tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestSignaturesForAClusterAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all budgets
		mallory := all.of("mallory")
		began := time.Now()
		const over = 100
		for range signatureBurst + over {
			done, err := mallory.signature(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			done()
		}
		if took, want := time.Since(began).Round(time.Second), over*time.Second/signatureRate; took != want {
			t.Errorf("%d questions over the burst: took %s, want %s", over, took, want)
		}
		for range maxClusterSignatures {
			if _, err := mallory.signature(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := mallory.signature(ctx, "a"); err == nil {
			t.Errorf("more than %d at a time", maxClusterSignatures)
		}
		if done, err := all.of("alice").signature(t.Context(), "a"); err != nil {
			t.Errorf("another cluster: %v", err)
		} else {
			done()
		}
	})
}

func TestThoseWhoWaitToAskAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mallory := (&budgets{}).of("mallory")
		ctx, cancel := context.WithCancel(t.Context())
		for range maxClusterSignatures + maxClusterWaiting {
			go func() { _, _ = mallory.signature(ctx, "mallory") }()
		}
		synctest.Wait()
		if _, err := mallory.signature(ctx, "mallory"); !fault.Is(err, fault.Conflict) {
			t.Errorf("one more than may wait: %v; want it refused at once", err)
		}
		cancel()
		synctest.Wait()
		short, end := context.WithTimeout(t.Context(), time.Minute)
		defer end()
		if _, err := mallory.signature(short, "mallory"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("once those who waited gave up: %v; want it to wait", err)
		}
		if done, err := mallory.fetch(t.Context(), "mallory"); err != nil {
			t.Errorf("a transfer: %v; want nothing of it", err)
		} else {
			done()
		}
	})
}

func TestAnswersCostTransfersNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cluster := (&budgets{}).of("a")
		for range 10 {
			cluster.answer(answerBurst, 1)
		}
		began := time.Now()
		if err := cluster.affords(t.Context()); err != nil || time.Since(began) > 0 {
			t.Errorf("a transfer waited for %v, %v", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := cluster.signature(ctx, "a"); !fault.Is(err, fault.Conflict) {
			t.Errorf("the next question: %v; want it to wait for the debt", err)
		}
	})
}

// answer is a stream to a cluster that takes whatever it is sent.
type answer struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // a stream has one
}

func (a answer) Context() context.Context { return a.ctx }

func (answer) Send(*relayv1.SignaturesResponse) error { return nil }

// crowd has so many clusters ask about so many images each, of which nothing is known until the test ends. It returns how many of these
// asks the automator works on.
func crowd(t *testing.T, clusters, images int) (working func() int, join func(cluster string)) {
	t.Helper()
	var mu sync.Mutex
	asks := 0
	server := New(Config{}, Deps{Signatures: func(ctx context.Context, _ string, _ signature.Image, _ []byte) (signature.Material, []byte, error) {
		mu.Lock()
		asks++
		mu.Unlock()
		<-ctx.Done()
		return signature.Material{}, nil, ctx.Err()
	}})
	join = func(cluster string) {
		ctx := rpc.WithCaller(t.Context(), rpc.Identity{Role: rpc.RoleCluster, Name: cluster})
		go func() {
			_ = server.Signatures(&relayv1.SignaturesRequest{
				Hello: &relayv1.Hello{Cluster: cluster, Replica: "a", Protocol: Protocol}, Repository: "ghcr.io/acme/api", Digest: signedDigest,
			}, answer{ctx: ctx})
		}()
		synctest.Wait()
	}
	for i := range clusters {
		for range images {
			join(fmt.Sprint("cluster-", i))
		}
	}
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return asks
	}, join
}

func TestAnswersOfAllAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		working, _ := crowd(t, maxAnswers+10, 1)
		if got := working(); got != maxAnswers {
			t.Errorf("%d answers at a time; want %d", got, maxAnswers)
		}
	})
}

func TestAnswersAreKeptForNewcomers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		working, join := crowd(t, (maxAnswers-newcomerAnswers)/maxClusterSignatures, 2*maxClusterSignatures)
		want := maxAnswers - newcomerAnswers
		for i, more := range []int{0, 1, 0} { // what a newcomer asks first is answered, and nothing else
			if want += more; i > 0 {
				join("newcomer")
			}
			if got := working(); got != want {
				t.Errorf("%d answers at a time, %d of a newcomer asked for; want %d", got, i, want)
			}
		}
	})
}
