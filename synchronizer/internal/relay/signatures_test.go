package relay

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/signature"
)

func headerPiece(signatures int32, bytes int64) *relayv1.SignaturesResponse {
	return &relayv1.SignaturesResponse{Piece: &relayv1.SignaturesResponse_Header{Header: &relayv1.SignaturesHeader{
		Signatures: signatures, Bytes: bytes, Skipped: 2, Version: []byte("v"),
	}}}
}

func signaturePiece(form relayv1.SignatureForm, size int64, content string) *relayv1.SignaturesResponse {
	return &relayv1.SignaturesResponse{Piece: &relayv1.SignaturesResponse_Signature{Signature: &relayv1.Signature{
		Form: form, Where: "tag", Size: size, Content: []byte(content), Annotations: map[string]string{"a": "b"},
	}}}
}

func chunkPiece(content string) *relayv1.SignaturesResponse {
	return &relayv1.SignaturesResponse{Piece: &relayv1.SignaturesResponse_Chunk{Chunk: &relayv1.Chunk{Content: []byte(content)}}}
}

// replay receives messages as a stream brings them.
func replay(messages []*relayv1.SignaturesResponse) (signature.Material, []byte, error) {
	return receiveSignatures(func() (*relayv1.SignaturesResponse, error) {
		if len(messages) == 0 {
			return nil, io.EOF
		}
		next := messages[0]
		messages = messages[1:]
		return next, nil
	})
}

const (
	bundleForm   = relayv1.SignatureForm_SIGNATURE_FORM_BUNDLE
	envelopeForm = relayv1.SignatureForm_SIGNATURE_FORM_ENVELOPE
	futureForm   = relayv1.SignatureForm(99)
)

func TestSignaturesArriveWhole(t *testing.T) {
	t.Parallel()
	got, version, err := replay([]*relayv1.SignaturesResponse{
		headerPiece(3, 5+3+2+6), signaturePiece(bundleForm, 5, "he"), chunkPiece("l"), chunkPiece("lo"),
		signaturePiece(futureForm, 3, "new"), signaturePiece(envelopeForm, 2, "{}"),
	})
	annotations := map[string]string{"a": "b"}
	want := signature.Material{Skipped: 3, Items: []signature.Item{
		{Kind: signature.Bundle, Where: "tag", Body: []byte("hello"), Annotations: annotations},
		{Kind: signature.Envelope, Where: "tag", Body: []byte("{}"), Annotations: annotations},
	}}
	if diff := cmp.Diff(want, got); err != nil || string(version) != "v" || diff != "" {
		t.Errorf("version %q, %v; -want, +got:\n%s", version, err, diff)
	}
}

func TestBrokenAnswersAreNotUsed(t *testing.T) {
	t.Parallel()
	long := string(make([]byte, maxChunk+1))
	cases := map[string][]*relayv1.SignaturesResponse{
		"Nothing":       {},
		"NoHeader":      {signaturePiece(bundleForm, 1, "a")},
		"TwoHeaders":    {headerPiece(0, 0), headerPiece(0, 0)},
		"TooMany":       {headerPiece(signature.MaxItems+1, 0)},
		"TooLarge":      {headerPiece(1, signature.MaxRelayed+1)},
		"Negative":      {headerPiece(-1, 0)},
		"Missing":       {headerPiece(1, 3)},
		"More":          {headerPiece(0, 3), signaturePiece(bundleForm, 1, "a")},
		"Unannounced":   {headerPiece(1, 2), signaturePiece(bundleForm, 1, "a")},
		"Fewer":         {headerPiece(1, 4), signaturePiece(bundleForm, 1, "a")},
		"HugeSize":      {headerPiece(1, 100), signaturePiece(bundleForm, 1<<62, "a")},
		"NegativeSize":  {headerPiece(1, 1), signaturePiece(bundleForm, -1, "")},
		"Overlong":      {headerPiece(1, 3), signaturePiece(bundleForm, 1, "ab")},
		"LongChunk":     {headerPiece(1, int64(len(long))+2), signaturePiece(bundleForm, int64(len(long)), long)},
		"CutShort":      {headerPiece(1, 4), signaturePiece(bundleForm, 2, "a")},
		"StrayChunk":    {headerPiece(1, 3), chunkPiece("a"), signaturePiece(bundleForm, 1, "a")},
		"EmptyChunk":    {headerPiece(1, 4), signaturePiece(bundleForm, 2, "a"), chunkPiece(""), chunkPiece("b")},
		"NextTooEarly":  {headerPiece(2, 8), signaturePiece(bundleForm, 2, "a"), signaturePiece(bundleForm, 2, "ab")},
		"Unprintable":   {headerPiece(1, 3), {Piece: &relayv1.SignaturesResponse_Signature{Signature: &relayv1.Signature{Form: bundleForm, Where: "\x1b[2Jtag", Size: 3, Content: []byte("abc")}}}},
		"NoPiece":       {headerPiece(0, 0), {}},
		"ChunkPastTheE": {headerPiece(1, 3), signaturePiece(bundleForm, 1, "a"), chunkPiece("b")},
	}
	for name, messages := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := replay(messages)
			if !fault.Is(err, fault.Invalid) || len(got.Items) > 0 {
				t.Errorf("got %d signatures, %v; want a refusal", len(got.Items), err)
			}
		})
	}
}

// TestWhatBreaksALimitIsRefusedAtOnce receives answers whose next message nobody waits for.
func TestWhatBreaksALimitIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	header := func(change func(*relayv1.SignaturesHeader)) *relayv1.SignaturesResponse {
		piece := headerPiece(1, signature.MaxRelayed)
		change(piece.GetHeader())
		return piece
	}
	whole := func(change func(*relayv1.Signature)) []*relayv1.SignaturesResponse {
		piece := signaturePiece(bundleForm, signature.MaxRelayed-2, "a")
		change(piece.GetSignature())
		return []*relayv1.SignaturesResponse{header(func(*relayv1.SignaturesHeader) {}), piece}
	}
	cases := map[string]struct {
		messages []*relayv1.SignaturesResponse
		refused  bool
	}{
		"AsMuchAsMayBe":  {whole(func(*relayv1.Signature) {}), false},
		"LongestPlace":   {whole(func(s *relayv1.Signature) { s.Where = strings.Repeat("w", maxWhere) }), false},
		"LongestVersion": {[]*relayv1.SignaturesResponse{header(func(h *relayv1.SignaturesHeader) { h.Version = make([]byte, maxVersion) })}, false},
		"MostSignatures": {[]*relayv1.SignaturesResponse{header(func(h *relayv1.SignaturesHeader) { h.Signatures = signature.MaxItems })}, false},
		"Bytes":          {[]*relayv1.SignaturesResponse{header(func(h *relayv1.SignaturesHeader) { h.Bytes++ })}, true},
		"NegativeBytes":  {[]*relayv1.SignaturesResponse{header(func(h *relayv1.SignaturesHeader) { h.Bytes = -1 })}, true},
		"Signatures":     {[]*relayv1.SignaturesResponse{header(func(h *relayv1.SignaturesHeader) { h.Signatures = signature.MaxItems + 1 })}, true},
		"NoSignatures":   {[]*relayv1.SignaturesResponse{header(func(h *relayv1.SignaturesHeader) { h.Signatures = -1 })}, true},
		"Skipped":        {[]*relayv1.SignaturesResponse{header(func(h *relayv1.SignaturesHeader) { h.Skipped = -1 })}, true},
		"Version":        {[]*relayv1.SignaturesResponse{header(func(h *relayv1.SignaturesHeader) { h.Version = make([]byte, maxVersion+1) })}, true},
		"Place":          {whole(func(s *relayv1.Signature) { s.Where = strings.Repeat("w", maxWhere+1) }), true},
		"Size":           {whole(func(s *relayv1.Signature) { s.Size++ }), true},
		"Annotations":    {whole(func(s *relayv1.Signature) { s.Annotations["a"] += "b" }), true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			left := tc.messages
			_, _, err := receiveSignatures(func() (*relayv1.SignaturesResponse, error) {
				if len(left) == 0 {
					return nil, io.ErrUnexpectedEOF
				}
				next := left[0]
				left = left[1:]
				return next, nil
			})
			if refused := !errors.Is(err, io.ErrUnexpectedEOF); refused != tc.refused || refused && !fault.Is(err, fault.Invalid) {
				t.Errorf("refused %t with %v; want %t", refused, err, tc.refused)
			}
		})
	}
}

// FuzzReceiveSignatures has an automator send anything: what is used is within the limits and as much as was announced.
func FuzzReceiveSignatures(f *testing.F) {
	seed := func(messages ...*relayv1.SignaturesResponse) {
		var all []byte
		for _, message := range messages {
			raw, err := proto.Marshal(message)
			if err != nil {
				f.Fatal(err)
			}
			all = append(append(all, byte(len(raw))), raw...)
		}
		f.Add(all)
	}
	seed(headerPiece(1, 7), signaturePiece(bundleForm, 5, "he"), chunkPiece("llo"))
	seed(headerPiece(1, 3), signaturePiece(futureForm, 1, "a"))
	seed(headerPiece(0, 0))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var messages []*relayv1.SignaturesResponse
		for len(raw) > 0 {
			n := min(int(raw[0]), len(raw)-1)
			message := &relayv1.SignaturesResponse{}
			if proto.Unmarshal(raw[1:1+n], message) == nil {
				messages = append(messages, message)
			}
			raw = raw[1+n:]
		}
		got, _, err := replay(messages)
		if err != nil {
			return
		}
		size := 0
		for _, item := range got.Items {
			size += item.Size()
		}
		if header := messages[0].GetHeader(); size > signature.MaxRelayed || int64(size) > header.GetBytes() || len(got.Items) > int(header.GetSignatures()) {
			t.Errorf("%d signatures of %d bytes were taken; announced were %v", len(got.Items), size, header)
		}
	})
}
