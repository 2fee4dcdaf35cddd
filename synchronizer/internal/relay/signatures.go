package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/signature"
)

// Limits of what is taken about the signatures of one image, besides those of package signature.
const (
	// maxVersion bounds the version of an answer, in bytes.
	maxVersion = 64
	// maxWhere bounds where a signature is said to be, in bytes.
	maxWhere = 256
	// signaturesTimeout bounds one answer. The automator may have to ask a registry first.
	signaturesTimeout = 20 * time.Second
)

// Signatures returns what the automator has about the signatures of an image, and a version of that. seen is the version that was not
// enough; nil for none. Nothing of it is checked.
func (c *Client) Signatures(ctx context.Context, image signature.Image, seen []byte) (signature.Material, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, signaturesTimeout)
	defer cancel()
	conn, err := c.link.Conn()
	if err != nil {
		return signature.Material{}, nil, err
	}
	stream, err := relayv1.NewRelayServiceClient(conn).Signatures(ctx, &relayv1.SignaturesRequest{
		Hello: c.hello(), Repository: image.Repository, Digest: image.Digest, Seen: seen,
	})
	if err != nil {
		return signature.Material{}, nil, err
	}
	material, version, err := receiveSignatures(stream.Recv)
	if status.Code(err) == codes.Unimplemented {
		err = fault.New(fault.NotFound, "the automator is older than this synchronizer and relays no signatures; upgrade it")
	}
	return material, version, err
}

// signatureReceiver is the state machine of an answer: header, then signatures with their chunks.
type signatureReceiver struct {
	header *relayv1.SignaturesHeader
	count  int32
	bytes  int64
	open   int // bytes of the last signature that are still to come
	taken  bool
	out    signature.Material
}

// receiveSignatures reads an answer to its end.
func receiveSignatures(recv func() (*relayv1.SignaturesResponse, error)) (signature.Material, []byte, error) {
	r := &signatureReceiver{}
	for {
		message, err := recv()
		if errors.Is(err, io.EOF) {
			err = r.finish()
			if err != nil {
				return signature.Material{}, nil, err
			}
			return r.out, r.header.GetVersion(), nil
		}
		if err == nil {
			err = r.take(message)
		}
		if err != nil {
			return signature.Material{}, nil, err
		}
	}
}

func unusable(format string, args ...any) error {
	return fault.New(fault.Invalid, "broken answer about signatures: %w; nothing of it is used", fmt.Errorf(format, args...))
}

func (r *signatureReceiver) take(message *relayv1.SignaturesResponse) error {
	header, isHeader := message.GetPiece().(*relayv1.SignaturesResponse_Header)
	if isHeader != (r.header == nil) {
		return unusable("the header is missing, or there are two")
	}
	if isHeader {
		return r.start(header.Header)
	}
	switch piece := message.GetPiece().(type) {
	case *relayv1.SignaturesResponse_Signature:
		return r.signature(piece.Signature)
	case *relayv1.SignaturesResponse_Chunk:
		return r.more(piece.Chunk.GetContent())
	default:
		return unusable("a piece of no known kind")
	}
}

func (r *signatureReceiver) start(header *relayv1.SignaturesHeader) error {
	r.header = header
	n, bytes := header.GetSignatures(), header.GetBytes()
	if n < 0 || n > signature.MaxItems || bytes < 0 || bytes > signature.MaxRelayed || header.GetSkipped() < 0 || len(header.GetVersion()) > maxVersion {
		return unusable("%d signatures and %d bytes break the limits", n, bytes)
	}
	r.out.Skipped = int(header.GetSkipped())
	return nil
}

// signature begins the next one. One of a form that is not known is counted and not kept.
func (r *signatureReceiver) signature(s *relayv1.Signature) error {
	r.count++
	if r.open > 0 || r.count > r.header.GetSignatures() {
		return unusable("more came than was announced")
	}
	size := min(s.GetSize(), signature.MaxRelayed+1)
	for key, text := range s.GetAnnotations() {
		size += int64(len(key) + len(text))
	}
	if s.GetSize() < 0 || r.bytes+size > r.header.GetBytes() || len(s.GetWhere()) > maxWhere {
		return unusable("a signature of %d bytes", s.GetSize())
	}
	if strings.ContainsFunc(s.GetWhere(), func(c rune) bool { return !unicode.IsPrint(c) }) {
		return unusable("the place of a signature cannot be printed")
	}
	r.bytes += size
	kind := kindOf(s.GetForm())
	if r.taken = kind != 0; r.taken {
		r.out.Items = append(r.out.Items, signature.Item{Kind: kind, Where: s.GetWhere(), Annotations: s.GetAnnotations()})
	} else {
		r.out.Skipped++
	}
	r.open = int(s.GetSize())
	return r.append(s.GetContent())
}

// more appends a chunk.
func (r *signatureReceiver) more(content []byte) error {
	if r.open == 0 || len(content) == 0 {
		return unusable("a chunk that belongs to nothing")
	}
	return r.append(content)
}

func (r *signatureReceiver) append(content []byte) error {
	if len(content) > r.open || len(content) > maxChunk {
		return unusable("a chunk of %d bytes", len(content))
	}
	r.open -= len(content)
	if r.taken {
		last := &r.out.Items[len(r.out.Items)-1]
		last.Body = append(last.Body, content...)
	}
	return nil
}

func (r *signatureReceiver) finish() error {
	if r.header == nil || r.open > 0 || r.count != r.header.GetSignatures() || r.bytes != r.header.GetBytes() {
		return unusable("it ended before all was there")
	}
	return nil
}

// kindOf returns the kind of a form; 0 for one that is not known.
func kindOf(form relayv1.SignatureForm) signature.Kind {
	switch form {
	case relayv1.SignatureForm_SIGNATURE_FORM_BUNDLE:
		return signature.Bundle
	case relayv1.SignatureForm_SIGNATURE_FORM_SIMPLE_SIGNING:
		return signature.SimpleSigning
	case relayv1.SignatureForm_SIGNATURE_FORM_ENVELOPE:
		return signature.Envelope
	default:
		return 0
	}
}
