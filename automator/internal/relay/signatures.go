package relay

import (
	"context"
	"time"

	"google.golang.org/grpc"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/imageref"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/signature"
)

// maxWhere bounds where a signature is said to be, in bytes.
const maxWhere = 256

// Signatures brings what is known of the signatures of one image.
func (s *Server) Signatures(req *relayv1.SignaturesRequest, stream grpc.ServerStreamingServer[relayv1.SignaturesResponse]) error {
	ctx := stream.Context()
	if err := admit(ctx, req.GetHello()); err != nil {
		return err
	}
	image, err := parseImage(req)
	if err != nil {
		return err
	}
	cluster := req.GetHello().GetCluster()
	done, err := s.budgets.of(cluster).signature(ctx, cluster)
	if err != nil {
		return err
	}
	defer done()
	if err := s.answers.Acquire(ctx, cluster); err != nil {
		return err
	}
	defer s.answers.Release(cluster)
	material, version, err := s.deps.Signatures(ctx, cluster, image, req.GetSeen())
	if err != nil {
		return err
	}
	material = material.Relayed()
	header := headerOf(material, version)
	s.budgets.of(cluster).answer(header.GetBytes(), int(header.GetSignatures()))
	return sendSignatures(ctx, header, material, stream.Send)
}

// parseImage returns the image that is asked about, which must be written as we write it.
func parseImage(req *relayv1.SignaturesRequest) (signature.Image, error) {
	ref, err := imageref.Parse(req.GetRepository() + "@" + req.GetDigest())
	if err != nil || ref.Name() != req.GetRepository() || ref.Tag != "" || ref.Digest == "" {
		return signature.Image{}, fault.New(fault.Invalid, "%.100q and %.100q are not the canonical name of a repository and a digest", req.GetRepository(), req.GetDigest())
	}
	return signature.Image{Repository: ref.Name(), Digest: ref.Digest}, nil
}

func headerOf(m signature.Material, version []byte) *relayv1.SignaturesHeader {
	header := &relayv1.SignaturesHeader{Signatures: int32(len(m.Items)), Skipped: int32(m.Skipped), Version: version}
	for _, item := range m.Items {
		header.Bytes += int64(item.Size())
	}
	return header
}

// sendSignatures writes an answer. A receiver that has not read all of it in sendTimeout is hung up on.
func sendSignatures(ctx context.Context, header *relayv1.SignaturesHeader, m signature.Material, write func(*relayv1.SignaturesResponse) error) error {
	hangup := time.AfterFunc(sendTimeout, func() { rpc.Hangup(ctx) })
	defer hangup.Stop()
	if err := write(&relayv1.SignaturesResponse{Piece: &relayv1.SignaturesResponse_Header{Header: header}}); err != nil {
		return err
	}
	for _, item := range m.Items {
		first := min(len(item.Body), chunkSize)
		err := write(&relayv1.SignaturesResponse{Piece: &relayv1.SignaturesResponse_Signature{Signature: &relayv1.Signature{
			Form: formOf(item.Kind), Where: item.Where[:min(len(item.Where), maxWhere)], Annotations: item.Annotations,
			Size: int64(len(item.Body)), Content: item.Body[:first],
		}}})
		for rest := item.Body[first:]; err == nil && len(rest) > 0; {
			n := min(len(rest), chunkSize)
			err = write(&relayv1.SignaturesResponse{Piece: &relayv1.SignaturesResponse_Chunk{Chunk: &relayv1.Chunk{Content: rest[:n]}}})
			rest = rest[n:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func formOf(kind signature.Kind) relayv1.SignatureForm {
	switch kind {
	case signature.Bundle:
		return relayv1.SignatureForm_SIGNATURE_FORM_BUNDLE
	case signature.SimpleSigning:
		return relayv1.SignatureForm_SIGNATURE_FORM_SIMPLE_SIGNING
	case signature.Envelope:
		return relayv1.SignatureForm_SIGNATURE_FORM_ENVELOPE
	default:
		return relayv1.SignatureForm_SIGNATURE_FORM_UNSPECIFIED
	}
}
