package gitserver

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// exitFailed is the exit status of a command that failed or was not run.
const exitFailed = 1

var (
	errNoCommand = errors.New("only git-upload-pack and git-receive-pack of a repository are served")
	errCut       = errors.New("cut after the push")
)

// sshSession is one command of a client.
type sshSession struct {
	server   *Server
	channel  ssh.Channel
	protocol string // the client's GIT_PROTOCOL
	tasks    sync.WaitGroup
}

// serve waits for the command, past the environment the client offers first,
// and returns when the command has ended.
func (s *sshSession) serve(ctx context.Context, requests <-chan *ssh.Request) {
	defer s.tasks.Wait()
	defer s.channel.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the client has closed the channel
	for request := range requests {
		var env struct{ Name, Value string }
		switch request.Type {
		case "env":
			if ssh.Unmarshal(request.Payload, &env) == nil && env.Name == "GIT_PROTOCOL" {
				s.protocol = env.Value
			}
			_ = request.Reply(true, nil)
		case "exec":
			var exec struct{ Command string }
			err := ssh.Unmarshal(request.Payload, &exec)
			_ = request.Reply(err == nil, nil)
			s.tasks.Go(func() { s.exec(ctx, exec.Command) })
		default:
			_ = request.Reply(false, nil)
		}
	}
}

// exec runs the command and tells the client how it ended, or nothing at all
// where a gate has cut it. Closing the channel ends serve.
func (s *sshSession) exec(ctx context.Context, command string) {
	defer s.channel.Close()
	program, repo, err := parseCommand(command)
	if err == nil {
		err = s.run(ctx, program, repo)
	}
	if errors.Is(err, errCut) {
		return
	}
	var status struct{ Status uint32 }
	if err != nil {
		fmt.Fprintln(s.channel.Stderr(), err)
		status.Status = exitFailed
	}
	_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(status)) // the client may be gone
}

// parseCommand reads the only two commands git sends, such as
// git-upload-pack '/team/app.git'.
func parseCommand(command string) (program, repo string, err error) {
	program, path, _ := strings.Cut(command, " ")
	path = strings.TrimPrefix(strings.Trim(path, "'"), "/")
	if (program != uploadPack && program != receivePack) || !filepath.IsLocal(path) {
		return "", "", errNoCommand
	}
	return program, strings.TrimSuffix(folder(path), ".git"), nil
}
