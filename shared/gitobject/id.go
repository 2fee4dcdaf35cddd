package gitobject

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// Algorithm is the hash function of a repository.
type Algorithm uint8

// The algorithms Git knows. The zero value is none.
const (
	SHA1   Algorithm = 1
	SHA256 Algorithm = 2
)

const (
	sha1Size   = 20
	sha256Size = 32
)

// Size is the number of bytes of an id; zero for an unknown algorithm.
func (a Algorithm) Size() int {
	switch a {
	case SHA1:
		return sha1Size
	case SHA256:
		return sha256Size
	}
	return 0
}

// String is the name `git rev-parse --show-object-format` prints.
func (a Algorithm) String() string {
	switch a {
	case SHA1:
		return "sha1"
	case SHA256:
		return "sha256"
	}
	return fmt.Sprintf("algorithm(%d)", uint8(a))
}

// ID names an object by its hash. It is comparable; the zero value names
// nothing.
type ID struct {
	algorithm Algorithm
	sum       [sha256Size]byte
}

// ParseID reads a full, lower case hexadecimal id. Its length says which
// algorithm made it.
func ParseID(text string) (ID, error) {
	var id ID
	switch len(text) {
	case 2 * sha1Size:
		id.algorithm = SHA1
	case 2 * sha256Size:
		id.algorithm = SHA256
	default:
		return ID{}, fmt.Errorf("object id %q: want 40 or 64 hexadecimal digits", clip(text))
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ID{}, fmt.Errorf("object id %q: %q is not a lower case hexadecimal digit", text, c)
		}
	}
	if _, err := hex.Decode(id.sum[:], []byte(text)); err != nil {
		return ID{}, fmt.Errorf("object id %q: %w", text, err)
	}
	return id, nil
}

// NewID makes an id of its raw bytes.
func NewID(a Algorithm, sum []byte) (ID, error) {
	if a.Size() == 0 || len(sum) != a.Size() {
		return ID{}, fmt.Errorf("object id of %d bytes does not fit %s", len(sum), a)
	}
	id := ID{algorithm: a}
	copy(id.sum[:], sum)
	return id, nil
}

// Algorithm tells which hash made the id.
func (id ID) Algorithm() Algorithm { return id.algorithm }

// Bytes are the raw bytes of the hash, a copy.
func (id ID) Bytes() []byte { return bytes.Clone(id.sum[:id.algorithm.Size()]) }

// String is the full hexadecimal form; empty for the zero value.
func (id ID) String() string { return hex.EncodeToString(id.sum[:id.algorithm.Size()]) }

// IsZero is true for the value that names nothing.
func (id ID) IsZero() bool { return id.algorithm == 0 }

// Equal is ==; it lets go-cmp compare ids.
func (id ID) Equal(other ID) bool { return id == other }

// Compare orders ids by algorithm, then by bytes.
func (id ID) Compare(other ID) int {
	if id.algorithm != other.algorithm {
		return int(id.algorithm) - int(other.algorithm)
	}
	return bytes.Compare(id.sum[:], other.sum[:])
}

// MarshalText is the hexadecimal form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the hexadecimal form; an empty text is the zero value.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = ID{}
		return nil
	}
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// isNull is true for the id of all zero bytes, which fsck refuses in a tree.
func (id ID) isNull() bool { return id.sum == [sha256Size]byte{} }
