package gitrepo

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// together is how many files are asked for at a time. So many questions fit into a pipe of one page, which is what Linux gives
// to users that have many: git must be able to take them all before anybody reads its answers.
const together = 48

// Blobs reads the contents of many files and hands each to use, in the order of ids. It takes a fraction of the time of as
// many calls of Blob, and holds one content at a time. A file that cannot be read comes with an error of the kind that Blob
// returns, and the others go on; an error of use ends it. While use runs it MUST NOT read from the mirror.
func (r *Repo) Blobs(ctx context.Context, ids []gitobject.ID, use func(i int, content []byte, err error) error) error {
	if r.Algorithm() == 0 {
		return r.absent()
	}
	done, failed := 0, 0
	var stopped error
	hand := func(i int, content []byte, err error) error {
		stopped = use(done+i, content, err)
		return stopped
	}
	for done < len(ids) {
		n, err := r.objects.blobs(ctx, ids[done:min(done+together, len(ids))], hand)
		switch {
		case stopped != nil:
			return stopped
		case n > 0:
			failed = 0
		case err != nil:
			failed++
		}
		done += n
		if err != nil && (failed == readAttempts || ctx.Err() != nil) {
			return fmt.Errorf("read files of %q: %w", r.cfg.Name, err)
		}
	}
	return nil
}

// blobs asks for some files at once, and returns how many of them were handed on. After an error the process is gone.
func (o *objects) blobs(ctx context.Context, ids []gitobject.ID, use func(i int, content []byte, err error) error) (done int, err error) {
	select {
	case o.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { <-o.turn }()
	if err := o.begin(); err != nil {
		return 0, err
	}
	done, err = o.process.blobs(ctx, ids, func(i int, found object, err error) error {
		switch {
		case errors.Is(err, errMissing):
			err = fault.New(fault.NotFound, "object %s is not in %q", ids[i], o.repo.cfg.Name)
		case err == nil && found.kind != gitobject.TypeBlob:
			err = notA(gitobject.TypeBlob, found.kind, ids[i], o.repo.cfg.Name)
		}
		return use(i, found.content, err)
	})
	if err != nil {
		if messages := o.stop(); messages != "" {
			err = fmt.Errorf("%w (%s)", err, messages)
		}
	}
	return done, err
}

// blobs asks for some objects at once and hands on what is answered; see Repo.Blobs. What is too large is handed on as an
// error and ends it, since the answer is not read.
func (c *catFile) blobs(ctx context.Context, ids []gitobject.ID, use func(i int, found object, err error) error) (done int, err error) {
	stop := context.AfterFunc(ctx, func() { killGroup(c.cmd.Process.Pid) })
	defer stop()
	if err := c.send(askContents, ids...); err != nil {
		return 0, err
	}
	for i, id := range ids {
		found, err := c.header(id)
		if err == nil {
			err = c.contents(&found)
		}
		unread := fault.Is(err, fault.Invalid)
		switch {
		case ctx.Err() != nil:
			return i, context.Cause(ctx)
		case err != nil && !unread && !errors.Is(err, errMissing):
			return i, err
		}
		if err := use(i, found, err); err != nil {
			return i, err
		}
		if unread {
			return i + 1, err
		}
	}
	return len(ids), nil
}
