package rpc

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/tandem-cd/tandem/shared/run"
)

// elsewhere decodes messages on a stack of its own: the deeper a message, the more of it is needed, and the goroutine of
// a stream would keep that for as long as the stream lives.
type elsewhere struct{ encoding.CodecV2 }

func codec() elsewhere { return elsewhere{encoding.GetCodecV2(proto.Name)} }

// Unmarshal decodes a message.
func (c elsewhere) Unmarshal(data mem.BufferSlice, message any) (err error) {
	run.Elsewhere(func() { err = c.CodecV2.Unmarshal(data, message) })
	return err
}
