package gitrepo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
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
	// It lives longer than any caller: whoever is reading when his context ends stops it himself.
	cmd := exec.Command(r.git, "cat-file", "--batch-command") //nolint:noctx // see above
	cmd.Env, cmd.Dir = r.cfg.environment(r.gitDir(), access{}), r.cfg.Dir
	r.contain(cmd)
	cmd.Cancel = nil // only for commands with a context
	c := &catFile{cmd: cmd, stderr: &bounded{limit: maxMessages, drop: true}}
	cmd.Stderr = c.stderr
	var err error
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

// What can be asked of an object: all of it, or its type and size.
const (
	askContents = "contents"
	askInfo     = "info"
)

// object is an answer; content is nil when it was not asked for.
type object struct {
	kind    gitobject.Type
	size    int64
	content []byte
}

// read asks about one object. After an error other than "missing" the process is of no more use.
func (c *catFile) read(ctx context.Context, question string, id gitobject.ID) (object, error) {
	stop := context.AfterFunc(ctx, func() { killGroup(c.cmd.Process.Pid) })
	defer stop()
	found, err := c.ask(question, id)
	if err == nil && question == askContents {
		err = c.contents(&found)
	}
	if err != nil && ctx.Err() != nil {
		return object{}, context.Cause(ctx)
	}
	return found, err
}

// ask sends a question and reads the header of its answer.
func (c *catFile) ask(question string, id gitobject.ID) (object, error) {
	if err := c.send(question, id); err != nil {
		return object{}, err
	}
	return c.header(id)
}

// send asks the same about objects. The answers come in this order.
func (c *catFile) send(question string, ids ...gitobject.ID) error {
	var questions strings.Builder
	for _, id := range ids {
		questions.WriteString(question + " " + id.String() + "\n")
	}
	_, err := io.WriteString(c.stdin, questions.String())
	return err
}

// header reads what an answer begins with.
func (c *catFile) header(id gitobject.ID) (object, error) {
	header, err := c.stdout.ReadString('\n')
	if err != nil {
		return object{}, err
	}
	fields := strings.Fields(header)
	if len(fields) == 2 && fields[1] == "missing" {
		return object{}, errMissing
	}
	if len(fields) != 3 || fields[0] != id.String() {
		return object{}, fmt.Errorf("git cat-file answered %q", clip(header))
	}
	kind, err := gitobject.ParseType(fields[1])
	if err != nil {
		return object{}, err
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	return object{kind: kind, size: size}, err
}

// contents reads what follows the header.
func (c *catFile) contents(o *object) error {
	if o.size > gitobject.MaxObjectSize {
		return fault.New(fault.Invalid, "%s of %d bytes is larger than the %d that are read", o.kind, o.size, gitobject.MaxObjectSize)
	}
	content := make([]byte, o.size+1) // and the newline after it
	if _, err := io.ReadFull(c.stdout, content); err != nil {
		return err
	}
	if content[o.size] != '\n' {
		return errors.New("git cat-file did not end an object")
	}
	o.content = content[:o.size:o.size]
	return nil
}

// end stops the process and collects it; messages are the last it had to say.
func (c *catFile) end() (messages string) {
	killGroup(c.cmd.Process.Pid)
	_ = c.stdin.Close()
	_ = c.cmd.Wait()
	return reasonOf(string(bytes.TrimSpace(c.stderr.Bytes())))
}
