package gitobject

import (
	"errors"
	"fmt"
)

// Limits of what is decoded. They are far above what people commit and far
// below what hurts.
const (
	MaxObjectSize   = 32 << 20 // bytes of one object
	MaxCommitSize   = 1 << 20  // bytes of a commit or tag
	MaxTreeEntries  = 1 << 17  // entries of one tree
	MaxNameLength   = 4096     // bytes of one entry's name
	MaxDepth        = 64       // directories above a file
	MaxParents      = 1024     // parents of one commit
	MaxSignature    = 16 << 10 // bytes of an armored signature
	maxTimestamp    = 253402300799
	maxQuotedLength = 100
)

// ErrMalformed is what every decoder's error is.
var ErrMalformed = errors.New("malformed object")

// malformed makes an error that is ErrMalformed.
func malformed(format string, args ...any) error {
	return &malformedError{fmt.Sprintf(format, args...)}
}

type malformedError struct{ text string }

func (e *malformedError) Error() string { return e.text }

func (e *malformedError) Is(target error) bool { return target == ErrMalformed }

// clip keeps foreign text from flooding a message.
func clip(s string) string {
	if len(s) > maxQuotedLength {
		return s[:maxQuotedLength] + "..."
	}
	return s
}
