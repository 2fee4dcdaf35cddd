package gitobject

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"strconv"

	"github.com/pjbgf/sha1cd"
)

// Type is the kind of an object.
type Type uint8

// The kinds of objects. They carry a prefix because Commit, Tree and Tag are
// the decoded forms.
const (
	TypeCommit Type = 1
	TypeTree   Type = 2
	TypeBlob   Type = 3
	TypeTag    Type = 4
)

// String is the word Git writes in an object's header.
func (t Type) String() string {
	switch t {
	case TypeCommit:
		return "commit"
	case TypeTree:
		return "tree"
	case TypeBlob:
		return "blob"
	case TypeTag:
		return "tag"
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// ParseType reads the word Git writes in an object's header.
func ParseType(word string) (Type, error) {
	for _, t := range []Type{TypeCommit, TypeTree, TypeBlob, TypeTag} {
		if t.String() == word {
			return t, nil
		}
	}
	return 0, malformed("unknown object type %q", clip(word))
}

// ErrCollision says that content was built to collide under SHA-1.
var ErrCollision = errors.New("content is part of a SHA-1 collision attack")

// ErrMismatch says that content does not hash to the id it came under.
var ErrMismatch = errors.New("content does not match its id")

// Hash names content as an object of type t. Under SHA-1 content that carries
// the marks of a collision attack has no name: the error is ErrCollision.
func Hash(a Algorithm, t Type, content []byte) (ID, error) {
	if a.Size() == 0 {
		return ID{}, fmt.Errorf("hash %s: %s is not supported", t, a)
	}
	if len(content) > MaxObjectSize {
		return ID{}, malformed("%s of %d bytes is larger than %d", t, len(content), MaxObjectSize)
	}
	header := t.String() + " " + strconv.Itoa(len(content)) + "\x00"
	sum, err := sum(a, []byte(header), content)
	if err != nil {
		return ID{}, fmt.Errorf("hash %s: %w", t, err)
	}
	return NewID(a, sum)
}

// Check is nil when content, as an object of type t, has the name id.
func Check(id ID, t Type, content []byte) error {
	got, err := Hash(id.algorithm, t, content)
	if err != nil {
		return err
	}
	if got != id {
		return fmt.Errorf("%s %s hashes to %s: %w", t, id, got, ErrMismatch)
	}
	return nil
}

// sum hashes the parts in order.
func sum(a Algorithm, parts ...[]byte) ([]byte, error) {
	var h hash.Hash
	if a == SHA1 {
		h = sha1cd.New()
	} else {
		h = sha256.New()
	}
	for _, part := range parts {
		h.Write(part)
	}
	detecting, ok := h.(sha1cd.CollisionResistantHash)
	if !ok {
		return h.Sum(nil), nil
	}
	sum, collided := detecting.CollisionResistantSum(nil)
	if collided {
		return nil, ErrCollision
	}
	return sum, nil
}
