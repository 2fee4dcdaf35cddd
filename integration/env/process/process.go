package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	// tailLines of a log go into an error; tailBytes of it are read for that.
	tailLines = 15
	tailBytes = 16 << 10
	// readyTimeout bounds the start of one program.
	readyTimeout = 5 * time.Minute
	// readyInterval is how often a starting program is asked.
	readyInterval = 50 * time.Millisecond

	privateMode = 0o600
)

var (
	errExited   = errors.New("ended")
	errNotReady = errors.New("not ready")
)

// Config says what to run.
type Config struct {
	// Name is what errors call the process.
	Name string
	// Log is the file that its output is appended to.
	Log string
	// Command is the program and its arguments.
	Command []string
	// Env is added to this process's environment.
	Env []string
}

// Process is a started program.
type Process struct {
	cfg  Config
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how; valid after done
}

// Start runs a program.
//
// A goroutine locked to its thread starts it and stays until it ends: on Linux
// the program is killed when that thread dies, so the thread MUST live as long
// as this process does, which the runtime does not promise of others.
func Start(cfg Config) (*Process, error) {
	file, err := os.OpenFile(cfg.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, privateMode)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd := exec.Command(cfg.Command[0], cfg.Command[1:]...) //nolint:noctx // it outlives the start; Kill ends it
	cmd.Env = append(os.Environ(), cfg.Env...)
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = dieWithParent()
	p := &Process{cfg: cfg, cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Name, err)
	}
	return p, nil
}

// ID is the process's number.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Log is the file that the output goes to.
func (p *Process) Log() string { return p.cfg.Log }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the process ended, after Done.
func (p *Process) Err() error { return p.err }

// Kill ends the process without warning and waits for that. A process that has
// ended is left alone: its id may be another's by now, which os.Process knows.
// Kill of nil does nothing.
func (p *Process) Kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // fails only when it has ended
	<-p.done
}

// Stop asks the process to end, and waits until it has. It is killed, and that
// is an error, when it has not by the end of ctx; a failure that the program
// itself ends with is one too.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Kill()
		return p.Fault(fmt.Errorf("asked to stop: %w", context.Cause(ctx)))
	}
	if p.err != nil {
		return p.Fault(fmt.Errorf("asked to stop: %w", p.err))
	}
	return nil
}

// Ready asks until the answer is nil. It gives up when the process ends, when
// ctx does, or after five minutes, and tells what the log says.
func (p *Process) Ready(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, errNotReady)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.Fault(fmt.Errorf("%w: %w", errExited, p.err))
		case <-ctx.Done():
			return p.Fault(fmt.Errorf("%w: %w", context.Cause(ctx), err))
		case <-time.After(readyInterval):
		}
	}
}

// Fault describes a process that did not do what it should, with the end of its
// log, where the reason is.
func (p *Process) Fault(reason error) error {
	return fmt.Errorf("%s: %w; %s ends with:\n%s", p.cfg.Name, reason, p.cfg.Log, tail(p.cfg.Log))
}

func tail(path string) []byte {
	file, err := os.Open(path)
	if err != nil {
		return []byte(err.Error())
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > tailBytes {
		_, _ = file.Seek(-tailBytes, io.SeekEnd) // at worst the whole log is read
	}
	content, err := io.ReadAll(file)
	if err != nil {
		return []byte(err.Error())
	}
	return LastLines(content)
}

// LastLines is the end of what a program has said, as an error quotes it.
func LastLines(text []byte) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-tailLines-1):], nil)
}

// Command is a program that is run to its end. When ctx ends first, it and the
// programs it has started are killed. A terminal's interrupt does not reach it;
// this process decides.
func Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// ownGroup keeps a terminal's interrupt from reaching the process.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
