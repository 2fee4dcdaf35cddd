package gitrepo

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // the checksum of a pack in a SHA-1 repository
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// maxMade bounds the objects that are kept of commits of our own, in bytes before compression, so that they can be pushed
// without asking git for them. A commit that is larger is pushed by git.
const maxMade = 16 << 20

// madeObject is an object that was made here.
type madeObject struct {
	kind    gitobject.Type
	content []byte
}

// made is a commit of our own: what its parent does not have.
type made struct {
	parent  gitobject.ID
	objects []madeObject
}

// size is how many bytes are kept.
func (m made) size() int {
	size := 0
	for _, o := range m.objects {
		size += len(o.content)
	}
	return size
}

// pack is the objects in the form of gitformat-pack, each whole.
func (m made) pack(a gitobject.Algorithm) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString("PACK")
	_ = binary.Write(&out, binary.BigEndian, []uint32{2, uint32(len(m.objects))}) // a buffer takes all
	deflated := zlib.NewWriter(&out)
	for _, o := range m.objects {
		out.Write(packedHeader(o.kind, len(o.content)))
		deflated.Reset(&out)
		if _, err := deflated.Write(o.content); err != nil {
			return nil, err
		}
		if err := deflated.Close(); err != nil {
			return nil, err
		}
	}
	sum := packHash(a)
	sum.Write(out.Bytes())
	return sum.Sum(out.Bytes()), nil
}

// packedHeader is the type and the size: four bits of the size with the type, then seven in each byte, the low ones first.
func packedHeader(kind gitobject.Type, size int) []byte {
	types := map[gitobject.Type]byte{gitobject.TypeCommit: 1, gitobject.TypeTree: 2, gitobject.TypeBlob: 3, gitobject.TypeTag: 4}
	header := []byte{types[kind]<<4 | byte(size&0x0f)}
	for size >>= 4; size > 0; size >>= 7 {
		header[len(header)-1] |= 0x80
		header = append(header, byte(size&0x7f))
	}
	return header
}

func packHash(a gitobject.Algorithm) hash.Hash {
	if a == gitobject.SHA256 {
		return sha256.New()
	}
	return sha1.New() //nolint:gosec // see above
}
