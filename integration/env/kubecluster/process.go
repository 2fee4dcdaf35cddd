package kubecluster

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

const (
	// tailLines of a log go into an error; tailBytes of it are read for that.
	tailLines = 15
	tailBytes = 16 << 10
)

// process is one started component. It is only ever stopped by force: its data
// is thrown away with it, and a graceful end of the API server takes a minute.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how; valid after done
}

// startProcess runs a component with its output appended to the log file.
//
// A goroutine locked to its thread starts it and stays until it ends: on Linux
// the component is killed when that thread dies, so the thread MUST live as
// long as this process does, which the runtime does not promise of others.
func startProcess(name, log string, command []string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, privateMode)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx // it outlives the start; kill ends it
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = dieWithParent()
	p := &process{name: name, log: log, cmd: cmd, done: make(chan struct{})}
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
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// kill ends the process and waits for that. A process that has ended is left
// alone: its id may be another's by now, which os.Process knows.
func (p *process) kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // fails only when it has ended
	<-p.done
}

// fault describes a component that did not do what it should, with the end of
// its log, where the reason is.
func (p *process) fault(reason error) error {
	return fmt.Errorf("%s: %w; %s ends with:\n%s", p.name, reason, p.log, tail(p.log))
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
	return lastLines(content)
}

func lastLines(text []byte) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-tailLines-1):], nil)
}

// ownGroup keeps a terminal's interrupt from reaching the process; the parent
// decides.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func killGroup(leader int) error { return syscall.Kill(-leader, syscall.SIGKILL) }
