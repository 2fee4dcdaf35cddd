package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/imageref"
)

// unsigned refuses a change that nobody stands behind, naming where it begins.
func (v *verifier) unsigned(ctx context.Context, l *link, who signer) (*Refusal, error) {
	r := &Refusal{
		Commit: l.ID, Signer: who.name(), Next: askForConsent(l.ID),
		Reason: "changed by a commit that " + who.problem,
	}
	err := v.changes(ctx, l.commit.Tree, func(c gitobject.Change) error {
		r.File, r.Line = c.Path, v.firstLine(ctx, c)
		return errDone
	})
	if r.File == "" {
		r.Reason = who.problem
	}
	return r, err
}

// firstLine is where a file begins to differ; zero when that is no matter of
// lines, or when the content cannot be read, for the refusal stands without.
func (v *verifier) firstLine(ctx context.Context, c gitobject.Change) int {
	if !c.From.Mode.IsRegular() || !c.To.Mode.IsRegular() {
		return 0
	}
	before, errBefore := v.read.Blob(ctx, c.From.ID)
	after, errAfter := v.read.Blob(ctx, c.To.ID)
	if errBefore != nil || errAfter != nil || bytes.Equal(before, after) {
		return 0
	}
	same := 0
	for same < len(before) && same < len(after) && before[same] == after[same] {
		same++
	}
	return 1 + bytes.Count(before[:same], []byte("\n"))
}

// byHuman is rule 2.
func (v *verifier) byHuman(ctx context.Context, l *link, who *principal) (*Refusal, error) {
	path, err := v.beyond(ctx, l.commit.Tree, who)
	if err != nil {
		return nil, err
	}
	if path != "" {
		return outside(l.ID, path, who), nil
	}
	v.pass(who)
	return nil, nil
}

func outside(commit gitobject.ID, path string, who *principal) *Refusal {
	return &Refusal{
		Commit: commit, File: path, Signer: who.name, Next: askForConsent(commit),
		Reason: fmt.Sprintf("changed by %s, who may change %s only", who.name, strings.Join(who.paths, ", ")),
	}
}

// byAutomation is rule 3.
func (v *verifier) byAutomation(ctx context.Context, l *link, who *principal) (*Refusal, error) {
	var refusal *Refusal
	files := 0
	err := v.changes(ctx, l.commit.Tree, func(c gitobject.Change) error {
		files++
		if !who.mayChange(c.Path) {
			refusal = outside(l.ID, c.Path, who)
			return errDone
		}
		line, reason, err := v.onlyImages(ctx, c, who)
		if reason != "" {
			refusal = &Refusal{
				Commit: l.ID, File: c.Path, Line: line, Signer: who.name, Next: askForConsent(l.ID),
				Reason: fmt.Sprintf("%s, and %s may only change images", reason, who.name),
			}
			return errDone
		}
		return err
	})
	if err != nil || refusal != nil {
		return refusal, err
	}
	if files == 0 {
		return &Refusal{
			Commit: l.ID, Signer: who.name, Next: askForConsent(l.ID),
			Reason: fmt.Sprintf("changes folders without changing a file, and %s may only change images", who.name),
		}, nil
	}
	v.pass(who)
	return nil, nil
}

// onlyImages gives a reason when a change is more than other images in a file
// that was there.
func (v *verifier) onlyImages(ctx context.Context, c gitobject.Change, who *principal) (line int, reason string, err error) {
	switch {
	case c.From.IsZero():
		return 0, "was added", nil
	case c.To.IsZero():
		return 0, "was removed", nil
	case c.From.Mode != c.To.Mode:
		return 0, fmt.Sprintf("became a %s from a %s", kind(c.To.Mode), kind(c.From.Mode)), nil
	case !c.To.Mode.IsRegular():
		return 0, fmt.Sprintf("is a %s", kind(c.To.Mode)), nil
	}
	before, err := v.read.Blob(ctx, c.From.ID)
	if err != nil {
		return 0, "", err
	}
	after, err := v.read.Blob(ctx, c.To.ID)
	if err != nil {
		return 0, "", err
	}
	if gitobject.IsLFSPointer(before) || gitobject.IsLFSPointer(after) {
		return 0, "is kept by Git LFS, which never reaches the cluster", nil
	}
	_, err = imageref.OnlyImagesChanged(c.Path, before, after, func(was, became imageref.Reference) error {
		return who.mayBring(c.Path, was, became)
	})
	if err == nil {
		return 0, "", nil
	}
	if at, ok := errors.AsType[*imageref.Error](err); ok {
		return at.Line, at.Reason, nil
	}
	return 0, err.Error(), nil
}

func kind(m gitobject.Mode) string {
	switch m {
	case gitobject.ModeFile:
		return "file"
	case gitobject.ModeExec:
		return "executable file"
	case gitobject.ModeSymlink:
		return "symbolic link"
	case gitobject.ModeGitlink:
		return "submodule"
	default:
		return "folder"
	}
}
