package kubecluster

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// orphanVariable turns the test program into a parent that TestParentDies kills.
const orphanVariable = "KUBECLUSTER_TEST_ORPHAN_LOG"

// beParent starts a component that would run for ever, and waits to be killed.
func beParent(log string) {
	if _, err := startProcess("sleeper", log, []string{"sh", "-c", "echo ready; exec sleep 1000"}); err != nil {
		os.Exit(1)
	}
	select {}
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

func TestProcessFault(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	script := "for i in $(seq 100); do echo line $i; done; exit 3"
	p, err := startProcess("talker", log, []string{"sh", "-c", script})
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	p.kill() // of an ended process does nothing
	fault := p.fault(p.err).Error()
	if !strings.Contains(fault, "line 100\n") || strings.Contains(fault, "line 50\n") {
		t.Errorf("fault(...): %s\nwant only the last lines", fault)
	}
	if exit := (*exec.ExitError)(nil); !errors.As(p.err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("p.err: %v, want exit code 3", p.err)
	}
}

func TestStartProcessWithoutProgram(t *testing.T) {
	t.Parallel()
	_, err := startProcess("none", filepath.Join(t.TempDir(), "log"), []string{"/no/such/program"})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("startProcess(...): %v, want %v", err, os.ErrNotExist)
	}
}

func TestFreePortsDiffer(t *testing.T) {
	t.Parallel()
	const n = 50
	ports, err := freePorts(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, port := range ports {
		seen[port] = true
	}
	if len(seen) != n {
		t.Errorf("freePorts(%d): %d different ports in %v", n, len(seen), ports)
	}
}

func TestReadAudit(t *testing.T) {
	t.Parallel()
	const line = `{"stage":"ResponseComplete","verb":"patch","user":{"username":"a"},"impersonatedUser":{"username":"b"},` +
		`"objectRef":{"apiGroup":"apps","resource":"deployments","namespace":"n","name":"x"},"responseStatus":{"code":200}}`
	log := line + "\n" + `{"stage":"ResponseStarted","verb":"watch"}` + "\n" + line[:40]
	got, err := readAudit(bytes.NewBufferString(log))
	if err != nil {
		t.Fatal(err)
	}
	want := Request{Verb: "patch", User: "a", Impersonated: "b", Group: "apps", Resource: "deployments", Namespace: "n", Name: "x", Code: 200}
	if len(got) != 1 || got[0] != want {
		t.Errorf("readAudit(...): %+v, want one %+v", got, want)
	}
}
