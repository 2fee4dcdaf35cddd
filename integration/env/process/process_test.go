package process

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// orphanVariable turns the test program into a parent that TestParentDies kills.
const orphanVariable = "PROCESS_TEST_ORPHAN_LOG"

// beParent starts a component that would run for ever, and waits to be killed.
func beParent(log string) {
	if _, err := Start(Config{Name: "sleeper", Log: log, Command: []string{"sh", "-c", "echo ready; exec sleep 1000"}}); err != nil {
		os.Exit(1)
	}
	select {}
}

func TestMain(m *testing.M) {
	if log := os.Getenv(orphanVariable); log != "" {
		beParent(log)
	}
	goleak.VerifyTestMain(m)
}

// The component's log is a pipe that only the component holds open, so its end
// is the component's end.
func TestParentDies(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can end a process with its parent")
	}
	log := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(log, privateMode); err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(os.Args[0], "-test.run=^$")
	parent.Env = append(os.Environ(), orphanVariable+"="+log)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	ready := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(pipe, ready); err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed
	if rest, err := io.ReadAll(pipe); err != nil || len(rest) > 0 {
		t.Errorf("read to the end of the component: %q, %v", rest, err)
	}
}

func TestFault(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	script := "for i in $(seq 100); do echo line $i; done; exit 3"
	p, err := Start(Config{Name: "talker", Log: log, Command: []string{"sh", "-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	p.Kill() // of an ended process does nothing
	fault := p.Fault(p.err).Error()
	if !strings.Contains(fault, "line 100\n") || strings.Contains(fault, "line 50\n") {
		t.Errorf("Fault(...): %s\nwant only the last lines", fault)
	}
	if exit := (*exec.ExitError)(nil); !errors.As(p.err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("p.err: %v, want exit code 3", p.err)
	}
}

func TestStartWithoutProgram(t *testing.T) {
	t.Parallel()
	_, err := Start(Config{Name: "none", Log: filepath.Join(t.TempDir(), "log"), Command: []string{"/no/such/program"}})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Start(...): %v, want %v", err, os.ErrNotExist)
	}
}

func TestFreePortsDiffer(t *testing.T) {
	t.Parallel()
	const n = 50
	ports, err := FreePorts(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, port := range ports {
		seen[port] = true
	}
	if len(seen) != n {
		t.Errorf("FreePorts(%d): %d different ports in %v", n, len(seen), ports)
	}
}

// Whoever is asked to stop may finish what it does.
func TestStopLetsFinish(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	p, err := Start(Config{Name: "polite", Log: log, Command: []string{"sh", "-c", `trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done`}})
	if err != nil {
		t.Fatal(err)
	}
	said := func(text string) func(context.Context) error {
		return func(context.Context) error {
			if content, err := os.ReadFile(log); err != nil || !strings.Contains(string(content), text) {
				return errNotReady
			}
			return nil
		}
	}
	if err := p.Ready(t.Context(), said("ready")); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("Stop(...): %v", err)
	}
	if err := said("bye")(t.Context()); err != nil {
		t.Errorf("log after Stop: %s, want a last word", tail(log))
	}
}

// Whoever does not stop is killed, and that is told.
func TestStopKillsInTheEnd(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	p, err := Start(Config{Name: "stubborn", Log: log, Command: []string{"sh", "-c", `trap '' TERM; echo deaf; while :; do sleep 0.01; done`}})
	if err != nil {
		t.Fatal(err)
	}
	// It does not listen before it says so.
	if err := p.Ready(t.Context(), func(context.Context) error {
		if content, err := os.ReadFile(log); err != nil || !strings.Contains(string(content), "deaf") {
			return errNotReady
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop(...): %v, want that time was up", err)
	}
	<-p.Done()
}
