package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
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
	return &Repo{cfg: Config{Name: "app", Dir: dir}, git: shell, busy: make(chan struct{}, 1), metrics: newMetrics(nil), secrets: redact.New()}
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

// A push of which the remote got nothing has an outcome that is known, whatever was in its way.
func TestPushThatNeverBegan(t *testing.T) {
	t.Parallel()
	unreachable := fault.New(fault.Unavailable, "503")
	for name, tc := range map[string]struct {
		change func(r *Repo, end func())
		want   fault.Kind
		ended  bool
	}{
		"NoPassword":    {func(r *Repo, _ func()) { r.cfg.Auth.PasswordFile = filepath.Join(r.cfg.Dir, "none") }, fault.Unauthorized, false},
		"NoToken":       {func(r *Repo, _ func()) { r.cfg.Auth.Source = tokens(unreachable) }, fault.Unavailable, false},
		"NoOtherToken":  {func(r *Repo, _ func()) { r.cfg.Auth.Source = tokens(errors.New("no more"), "token") }, fault.Unauthorized, false},
		"NobodyIsAsked": {func(r *Repo, _ func()) { r.cfg.Auth.Source = tokens(unreachable, "token") }, fault.Unavailable, false},
		"NoGit":         {func(r *Repo, _ func()) { r.git = filepath.Join(r.cfg.Dir, "none") }, fault.Unavailable, false},
		"EndedAtItsTurn": {func(r *Repo, end func()) {
			r.busy <- struct{}{}
			end()
		}, fault.Unavailable, true},
		"EndedBeforeGit": {func(r *Repo, end func()) {
			r.cfg.Auth.Source = shortlived.New("token", func(context.Context) (shortlived.Credentials, error) {
				end()
				return shortlived.Credentials{Password: "token"}, nil
			})
		}, fault.Unavailable, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := stubbed(t, "push", "echo 'fatal: Authentication failed' >&2; exit 128")
			r.cfg.PushTimeout = time.Minute
			tc.change(r, cancel)
			err := r.Push(ctx, []RefUpdate{{Ref: "refs/heads/main"}})
			if !fault.Is(err, tc.want) || errors.Is(err, ErrOutcomeUnknown) {
				t.Errorf("Push: %v of kind %s, want %s and a known outcome", err, fault.KindOf(err), tc.want)
			}
			if errors.Is(err, context.Canceled) != tc.ended {
				t.Errorf("Push: %v; it was cancelled: %t", err, tc.ended)
			}
		})
	}
}

// tokens gives these and then none.
func tokens(then error, all ...string) *shortlived.Source {
	return shortlived.New("token", func(context.Context) (shortlived.Credentials, error) {
		if len(all) == 0 {
			return shortlived.Credentials{}, then
		}
		token := all[0]
		all = all[1:]
		return shortlived.Credentials{Password: token, Expires: time.Now().Add(time.Hour)}, nil
	})
}
