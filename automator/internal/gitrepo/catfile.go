package gitrepo

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// catFile is a running `git cat-file --batch-command`: a question is a line, the answer a header and the object.
type catFile struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr *bounded
}

func (r *Repo) startCatFile() (*catFile, error) {
	env, err := r.cfg.environment(r.gitDir(), false)
	if err != nil {
		return nil, err
	}
	// It lives longer than any caller: whoever is reading when his context ends stops it himself.
	cmd := exec.Command(r.git, "cat-file", "--batch-command") //nolint:noctx // see above
	cmd.Env, cmd.Dir = env, r.cfg.Dir
	r.contain(cmd)
	cmd.Cancel = nil // only for commands with a context
	c := &catFile{cmd: cmd, stderr: &bounded{limit: maxMessages, drop: true}}
	cmd.Stderr = c.stderr
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.stdout = bufio.NewReaderSize(stdout, 64<<10)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return c, nil
}

// read asks for one object. After an error other than "missing" the process is of no more use.
func (c *catFile) read(ctx context.Context, id gitobject.ID) (gitobject.Type, []byte, error) {
	stop := context.AfterFunc(ctx, func() { killGroup(c.cmd.Process.Pid) })
	defer stop()
	kind, content, err := c.ask(id)
	if err != nil && ctx.Err() != nil {
		return 0, nil, context.Cause(ctx)
	}
	return kind, content, err
}

func (c *catFile) ask(id gitobject.ID) (gitobject.Type, []byte, error) {
	if _, err := io.WriteString(c.stdin, "contents "+id.String()+"\n"); err != nil {
		return 0, nil, err
	}
	header, err := c.stdout.ReadString('\n')
	if err != nil {
		return 0, nil, err
	}
	fields := strings.Fields(header)
	if len(fields) == 2 && fields[1] == "missing" {
		return 0, nil, errMissing
	}
	if len(fields) != 3 || fields[0] != id.String() {
		return 0, nil, fmt.Errorf("git cat-file answered %q", clip(header))
	}
	kind, err := gitobject.ParseType(fields[1])
	if err != nil {
		return 0, nil, err
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return 0, nil, err
	}
	if size > gitobject.MaxObjectSize {
		return 0, nil, fault.New(fault.Invalid, "%s %s of %d bytes is larger than the %d that are read",
			kind, id, size, gitobject.MaxObjectSize)
	}
	content := make([]byte, size+1) // and the newline after it
	if _, err := io.ReadFull(c.stdout, content); err != nil {
		return 0, nil, err
	}
	if content[size] != '\n' {
		return 0, nil, fmt.Errorf("git cat-file did not end %s", id)
	}
	return kind, content[:size:size], nil
}

// end stops the process and collects it; messages are the last it had to say.
func (c *catFile) end() (messages string) {
	killGroup(c.cmd.Process.Pid)
	_ = c.stdin.Close()
	_ = c.cmd.Wait()
	return reasonOf(string(bytes.TrimSpace(c.stderr.Bytes())))
}
