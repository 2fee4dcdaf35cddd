package gitserver

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
)

const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// run connects the channel to git. What the client sends goes through the
// before gate, and git's report of a push through the after gate.
func (s *sshSession) run(ctx context.Context, program, repo string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := s.server.git.command(ctx, repo, strings.TrimPrefix(program, "git-"), ".")
	if s.protocol != "" {
		cmd.Env = append(cmd.Env, "GIT_PROTOCOL="+s.protocol)
	}
	out := &holder{to: s.channel}
	cmd.Stdout, cmd.Stderr = out, s.channel.Stderr()
	stdin, err := cmd.StdinPipe() // given as Stdin, Wait would wait for the client
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.tasks.Go(func() {
		defer stdin.Close()
		if err := s.feed(ctx, stdin, out, program, repo); err != nil {
			cancel(err) // kills git
		}
	})
	err = cmd.Wait()
	if refusal := context.Cause(ctx); refusal != nil {
		return refusal
	}
	return s.release(ctx, out, repo, err)
}

// feed gives git what the client sends, until the channel is closed. A push
// starts with its first command; a client with nothing to push sends a flush.
func (s *sshSession) feed(ctx context.Context, git io.Writer, out *holder, program, repo string) error {
	first := make([]byte, len(flushPkt))
	n, err := io.ReadFull(s.channel, first)
	if program == receivePack && err == nil && string(first) != flushPkt {
		if err := s.server.gates.askBefore(ctx, repo); err != nil {
			return err
		}
		out.hold()
	}
	if _, err := git.Write(first[:n]); err == nil {
		_, _ = io.Copy(git, s.channel) // ends when either side does, and git says why
	}
	return nil
}

// release lets the client see what was held back of git's answer.
func (s *sshSession) release(ctx context.Context, out *holder, repo string, result error) error {
	held := out.take()
	if bytes.Contains(held, []byte(refPassed)) {
		if s.server.gates.askAfter(ctx, repo) != nil {
			return errCut
		}
	}
	if _, err := s.channel.Write(held); err != nil {
		return err
	}
	return result
}

// holder passes bytes on until it is told to keep them.
type holder struct {
	to io.Writer

	mu   sync.Mutex
	held *bytes.Buffer
}

func (h *holder) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held != nil {
		return h.held.Write(p)
	}
	return h.to.Write(p)
}

func (h *holder) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = new(bytes.Buffer)
}

func (h *holder) take() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		return nil
	}
	return h.held.Bytes()
}
