package gitrepo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tandem-cd/tandem/shared/redact"
)

// stubbed is a mirror with a shell for git: what it takes for the name of a command of git's is a script that lies there.
func stubbed(t *testing.T, name, script string) *Repo {
	t.Helper()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Repo{cfg: Config{Name: "app", Dir: dir}, git: shell, secrets: redact.New()}
}

func prints(bytes int) string { return fmt.Sprintf("head -c %d /dev/zero", bytes) }

// What a command prints is bounded, and said to be too much whether or not git minds.
func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"GitMinds":   "exec " + prints(maxOutput+1),
		"GitDoesNot": prints(maxOutput+1) + "; exit 0",
	} {
		out, err := stubbed(t, "for-each-ref", script).run(t.Context(), command{args: []string{"for-each-ref"}})
		if !errors.Is(err, errTooMuchOutput) || len(out) > maxOutput {
			t.Errorf("%s: %d bytes, %v, want errTooMuchOutput", name, len(out), err)
		}
	}
	out, err := stubbed(t, "for-each-ref", prints(maxOutput)).run(t.Context(), command{args: []string{"for-each-ref"}})
	if err != nil || len(out) != maxOutput {
		t.Errorf("at the limit: %d bytes, %v, want all", len(out), err)
	}
}

// What is kept of a command's messages is bounded too, and no more of them is an error.
func TestMessagesAreBounded(t *testing.T) {
	t.Parallel()
	_, err := stubbed(t, "fetch", prints(2*maxMessages)+" >&2; exit 1").run(t.Context(), command{args: []string{"fetch"}})
	failed, ok := errors.AsType[*commandError](err)
	if !ok || len(failed.own) != maxMessages {
		t.Errorf("%v, want the error of a command with %d bytes of messages", err, maxMessages)
	}

	reader, err := stubbed(t, "cat-file", prints(2*maxMessages)+" >&2").startCatFile()
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, reader.stdout)
	reader.end()
	if kept := len(reader.stderr.Bytes()); err != nil || kept != maxMessages {
		t.Errorf("%d bytes of messages of the reader, %v, want %d", kept, err, maxMessages)
	}
}
