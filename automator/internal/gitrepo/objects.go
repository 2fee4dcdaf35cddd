package gitrepo

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

const (
	// cachedTreeBytes and cachedCommitBytes bound what is kept decoded.
	cachedTreeBytes   = 16 << 20
	cachedCommitBytes = 4 << 20
	// readAttempts is how often an object is asked for when the process that is asked dies: once more.
	readAttempts = 2
)

var errMissing = errors.New("missing")

// objects reads the mirror through one pooled process, which is started when first needed and again when it died.
type objects struct {
	repo    *Repo
	turn    chan struct{} // holds one token while the process is being asked
	process *catFile
	trees   *lru[gitobject.Tree]
	commits *lru[*gitobject.Commit]
}

func newObjects(r *Repo) *objects {
	return &objects{
		repo:    r,
		turn:    make(chan struct{}, 1),
		trees:   newLRU[gitobject.Tree](cachedTreeBytes),
		commits: newLRU[*gitobject.Commit](cachedCommitBytes),
	}
}

// close ends the process; the next read starts another.
func (o *objects) close() {
	o.turn <- struct{}{}
	o.stop()
	<-o.turn
	o.trees.clear()
	o.commits.clear()
}

func (o *objects) stop() (messages string) {
	if o.process == nil {
		return ""
	}
	messages = o.process.end()
	o.process = nil
	return messages
}

// read returns what is asked of an object.
func (o *objects) read(ctx context.Context, question string, id gitobject.ID) (object, error) {
	if id.IsZero() {
		return object{}, fault.New(fault.NotFound, "no object of %q was named", o.repo.cfg.Name)
	}
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return object{}, context.Cause(ctx)
	}
	defer func() { <-o.turn }()
	var err error
	for range readAttempts {
		var found object
		found, err = o.ask(ctx, question, id)
		switch {
		case err == nil:
			return found, nil
		case errors.Is(err, errMissing):
			return object{}, fault.New(fault.NotFound, "object %s is not in %q", id, o.repo.cfg.Name)
		}
		if messages := o.stop(); messages != "" {
			err = fmt.Errorf("%w (%s)", err, messages)
		}
		if ctx.Err() != nil || fault.Is(err, fault.Invalid) {
			break
		}
	}
	return object{}, fmt.Errorf("read %s of %q: %w", id, o.repo.cfg.Name, err)
}

func (o *objects) ask(ctx context.Context, question string, id gitobject.ID) (object, error) {
	if err := o.begin(); err != nil {
		return object{}, err
	}
	return o.process.read(ctx, question, id)
}

// begin starts the process if it does not run.
func (o *objects) begin() error {
	if o.process != nil {
		return nil
	}
	if o.repo.Algorithm() == 0 {
		return errMissing
	}
	process, err := o.repo.startCatFile()
	if err != nil {
		return err
	}
	o.process = process
	return nil
}

// Object reads any object as it is stored, up to gitobject.MaxObjectSize.
func (r *Repo) Object(ctx context.Context, id gitobject.ID) (gitobject.Type, []byte, error) {
	found, err := r.objects.read(ctx, askContents, id)
	return found.kind, found.content, err
}

// Blob reads a file's content.
func (r *Repo) Blob(ctx context.Context, id gitobject.ID) ([]byte, error) {
	found, err := r.typed(ctx, askContents, id, gitobject.TypeBlob)
	return found.content, err
}

// BlobSize returns a file's size in bytes, without reading it.
func (r *Repo) BlobSize(ctx context.Context, id gitobject.ID) (int64, error) {
	found, err := r.typed(ctx, askInfo, id, gitobject.TypeBlob)
	return found.size, err
}

// Tree reads a directory. The result is shared: it must not be written to.
func (r *Repo) Tree(ctx context.Context, id gitobject.ID) (gitobject.Tree, error) {
	if tree, ok := r.objects.trees.get(id); ok {
		return tree, nil
	}
	found, err := r.typed(ctx, askContents, id, gitobject.TypeTree)
	if err != nil {
		return nil, err
	}
	tree, err := gitobject.DecodeTree(id.Algorithm(), found.content)
	if err != nil {
		return nil, fault.New(fault.Invalid, "tree %s of %q: %w", id, r.cfg.Name, err)
	}
	r.objects.trees.put(id, tree, 2*len(found.content))
	return tree, nil
}

// Commit reads a commit. The result is shared: it must not be written to.
func (r *Repo) Commit(ctx context.Context, id gitobject.ID) (*gitobject.Commit, error) {
	if commit, ok := r.objects.commits.get(id); ok {
		return commit, nil
	}
	found, err := r.typed(ctx, askContents, id, gitobject.TypeCommit)
	if err != nil {
		return nil, err
	}
	commit, err := gitobject.DecodeCommit(id.Algorithm(), found.content)
	if err != nil {
		return nil, fault.New(fault.Invalid, "commit %s of %q: %w", id, r.cfg.Name, err)
	}
	r.objects.commits.put(id, commit, 2*len(found.content))
	return commit, nil
}

// Tag reads an annotated tag.
func (r *Repo) Tag(ctx context.Context, id gitobject.ID) (*gitobject.Tag, error) {
	found, err := r.typed(ctx, askContents, id, gitobject.TypeTag)
	if err != nil {
		return nil, err
	}
	tag, err := gitobject.DecodeTag(id.Algorithm(), found.content)
	if err != nil {
		return nil, fault.New(fault.Invalid, "tag %s of %q: %w", id, r.cfg.Name, err)
	}
	return tag, nil
}

// maxTagNesting bounds how many tags may point to one another.
const maxTagNesting = 8

// Peel follows annotated tags from what a ref points to down to the commit.
func (r *Repo) Peel(ctx context.Context, id gitobject.ID) (gitobject.ID, error) {
	for range maxTagNesting {
		if _, ok := r.objects.commits.get(id); ok {
			return id, nil
		}
		found, err := r.objects.read(ctx, askInfo, id)
		if err != nil || found.kind == gitobject.TypeCommit {
			return id, err
		}
		if found.kind != gitobject.TypeTag {
			return gitobject.ID{}, fault.New(fault.Invalid, "%s %s of %q is not a commit", found.kind, id, r.cfg.Name)
		}
		tag, err := r.Tag(ctx, id)
		if err != nil {
			return gitobject.ID{}, err
		}
		id = tag.Object
	}
	return gitobject.ID{}, fault.New(fault.Invalid, "tags of %q are nested deeper than %d", r.cfg.Name, maxTagNesting)
}

// Resolve returns the commit that a full ref name leads to, and the annotated tag between them if there is one. A ref that
// is not there, or leads to no commit that can be read, is not ok.
func (r *Repo) Resolve(ctx context.Context, ref string) (commit, tag gitobject.ID, ok bool) {
	at, ok := r.Tip(ref)
	if !ok {
		return gitobject.ID{}, gitobject.ID{}, false
	}
	commit, err := r.Peel(ctx, at)
	if err != nil {
		return gitobject.ID{}, gitobject.ID{}, false
	}
	if at != commit {
		tag = at
	}
	return commit, tag, true
}

// typed reads an object that must be of one type.
func (r *Repo) typed(ctx context.Context, question string, id gitobject.ID, want gitobject.Type) (object, error) {
	found, err := r.objects.read(ctx, question, id)
	if err != nil {
		return object{}, err
	}
	if found.kind != want {
		return object{}, notA(want, found.kind, id, r.cfg.Name)
	}
	return found, nil
}

func notA(want, kind gitobject.Type, id gitobject.ID, repository string) error {
	return fault.New(fault.Invalid, "object %s of %q is a %s, not a %s", id, repository, kind, want)
}
