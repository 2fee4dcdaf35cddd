package trust

import (
	"errors"
	"fmt"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// Trailer is the key of the trailer by which a human takes responsibility for
// a refused commit.
const Trailer = "Tandem-Accept"

// annotation does the same on a Sync.
const annotation = "tandem.dev/accept"

// Refusal says why a verdict stops before a commit.
type Refusal struct {
	Commit gitobject.ID
	File   string // empty when it is not about a file
	Line   int    // zero when it is not about a line
	Signer string // who signed, or the fingerprint of an unknown key; empty when nobody did
	Reason string // finishes "the commit ...", or "the file ..." when there is one
	Next   string // what to do about it

	// Unsealed says why the tag on the last step does not help; it finishes
	// "the last commit ...". Empty when there is no tag.
	Unsealed string

	// final says that nobody's consent helps.
	final bool
}

// String is the refusal as people read it: one line, the same every time.
func (r *Refusal) String() string {
	place := fmt.Sprintf("commit %s", r.Commit)
	switch {
	case r.File != "" && r.Line > 0:
		place += fmt.Sprintf(", %s:%d", r.File, r.Line)
	case r.File != "":
		place += ", " + r.File
	}
	text := place + ": " + r.Reason
	if r.Unsealed != "" {
		text += "; the last commit " + r.Unsealed
	}
	if r.Next != "" {
		text += "; " + r.Next
	}
	return text
}

// askForConsent is what to do about a commit that a person may let pass.
func askForConsent(id gitobject.ID) string {
	return fmt.Sprintf("to let it pass, push a signed commit with the trailer %q, or annotate the Sync with %s=%s",
		fmt.Sprintf("%s: %s", Trailer, id), annotation, id)
}

// rejected makes a refusal of an error about an object that is not what it
// should be. It returns nil for any other error, such as one of reading.
func rejected(commit gitobject.ID, err error) *Refusal {
	if !errors.Is(err, gitobject.ErrMalformed) && !errors.Is(err, gitobject.ErrCollision) {
		return nil
	}
	return &Refusal{
		Commit: commit, Reason: fmt.Sprintf("holds an object that is refused: %v", err), final: true,
		Next: "commit the content anew without it; `git fsck --strict` shows the same",
	}
}
