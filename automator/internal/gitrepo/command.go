package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

const (
	// maxOutput bounds what a command may print: a hundred thousand refs, or the parents of as many commits.
	maxOutput = 64 << 20
	// maxMessages bounds what is kept of its messages.
	maxMessages = 16 << 10
	// killAfter is how long a command may tidy up (remove its lock files) once it is told to stop.
	killAfter = 5 * time.Second
)

// command is one run of git.
type command struct {
	args    []string
	stdin   io.Reader // of a command that does not talk to the remote, which may run twice
	remote  bool      // it talks to the remote, and needs credentials
	timeout time.Duration
}

// unstarted is the error of a command that the remote has done nothing for: git did not run, or nobody knew us.
type unstarted struct{ error }

func (e *unstarted) Unwrap() error { return e.error }

// run runs git to its end and returns what it printed. A remote that refuses a token is shown another one, if there is: it
// has done nothing yet.
func (r *Repo) run(ctx context.Context, c command) ([]byte, error) {
	timeout := c.timeout
	if timeout <= 0 {
		timeout = localTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if !c.remote {
		return r.once(ctx, c, access{})
	}
	shown, err := r.access(ctx)
	if err != nil {
		return nil, &unstarted{err}
	}
	out, err := r.once(ctx, c, shown)
	if !saysWhoAreYou(err) {
		return out, err
	}
	other, ok, otherErr := r.another(ctx, shown)
	switch {
	case otherErr != nil:
		return nil, &unstarted{otherErr}
	case !ok:
		return out, err
	}
	return r.once(ctx, c, other)
}

// once runs git one time. It never leaves a process behind: git and all it started are one group, which is stopped together
// when the context ends.
func (r *Repo) once(ctx context.Context, c command, shown access) ([]byte, error) {
	stdout, stderr := &bounded{limit: maxOutput}, &bounded{limit: maxMessages, drop: true}
	cmd := exec.CommandContext(ctx, r.git, c.args...)
	cmd.Env, cmd.Dir = r.cfg.environment(r.gitDir(), shown), r.cfg.Dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.stdin, stdout, stderr
	r.contain(cmd)
	began := time.Now()
	err := cmd.Run()
	if stdout.over != nil { // git itself only says that nobody listened
		err = stdout.over
	}
	if c.remote {
		r.metrics.ran(c.args[0], began, errors.Join(ctx.Err(), err))
	}
	if cmd.Process == nil {
		return nil, &unstarted{r.failure(ctx, c, err, "")}
	}
	if ctx.Err() != nil {
		killGroup(cmd.Process.Pid)
		r.suspect.Store(true)
	}
	if err != nil {
		said := r.secrets.Text(stdout.String()) // by push, with the host's reasons
		return []byte(said), r.failure(ctx, c, err, r.secrets.Text(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// contain puts a command in a process group of its own, has it stopped with its parent and lets it hold the mirror's
// lock, so that no second process touches the mirror before the last of ours is gone.
func (r *Repo) contain(cmd *exec.Cmd) {
	cmd.SysProcAttr = groupAttributes()
	cmd.Cancel = func() error { return stopGroup(cmd.Process.Pid) }
	cmd.WaitDelay = killAfter
	if r.lock != nil {
		cmd.ExtraFiles = []*os.File{r.lock}
	}
}

var errTooMuchOutput = errors.New("printed more than is allowed")

// bounded is a buffer with a limit, behind which it fails, or forgets.
type bounded struct {
	buf   bytes.Buffer // not embedded: its ReadFrom would go around the limit
	limit int
	drop  bool
	over  error // why it failed, if it did
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - b.buf.Len()
	if len(p) <= room {
		return b.buf.Write(p)
	}
	if !b.drop {
		b.over = fmt.Errorf("%w: %d bytes", errTooMuchOutput, b.limit)
		return 0, b.over
	}
	b.buf.Write(p[:room])
	return len(p), nil
}

func (b *bounded) Read(p []byte) (int, error) { return b.buf.Read(p) }

func (b *bounded) Bytes() []byte { return b.buf.Bytes() }

func (b *bounded) String() string { return b.buf.String() }
