package gitrepo

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/redact"
)

func TestURL(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"https://git.example.com/acme/app.git":   "https",
		"http://127.0.0.1:3000/app":              "http",
		"ssh://git@git.example.com:2222/app.git": "ssh",
		"git@github.com:acme/app.git":            "ssh",
		"git.example.com:acme/app":               "ssh",
		"https://ann@git.example.com/app":        "https",
	} {
		if got, err := protocolOf(remote); err != nil || got != want {
			t.Errorf("protocolOf(%q) = %q, %v, want %q", remote, got, err, want)
		}
	}
	for _, remote := range []string{
		"", "app", "/srv/app.git", "file:///srv/app.git", "ext::sh -c id", "-oProxyCommand=id", "git://example.com/app",
		"https://ann:s3cret@git.example.com/app", "https://git.example.com/a\nb", "--upload-pack=id:x", "ssh://",
	} {
		_, err := Config{Name: "app", Dir: "x", URL: remote}.complete()
		if !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("URL %q: %v, want it refused", remote, err)
		}
	}
}

// What git hands to the shell must be the words that were meant, whatever a path holds.
func TestSSHCommand(t *testing.T) {
	t.Parallel()
	auth := Auth{SSHKeyFile: "/keys/it's $HOME/50%", KnownHostsFile: `/keys/a b/100%`}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `for w in `+auth.sshCommand()+`; do printf '%s\n' "$w"; done`).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"ssh", "-F", "/dev/null", "-o", `IdentityFile="/keys/it's $HOME/50%%"`,
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", "PasswordAuthentication=no",
		"-o", "StrictHostKeyChecking=yes", "-o", `UserKnownHostsFile="/keys/a b/100%%"`,
		"-o", "GlobalKnownHostsFile=/dev/null", "-o", "UpdateHostKeys=no", "-o", "ForwardAgent=no",
		"-o", "ClearAllForwardings=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15",
		"-o", "ServerAliveCountMax=2",
	}, "\n") + "\n"
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("ssh command: -want, +got:\n%s", diff)
	}
}

// ssh itself reads the options; -G prints what it made of them.
func TestSSHUnderstandsTheCommand(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("ssh is not installed")
	}
	auth := Auth{SSHKeyFile: "/keys/50%", KnownHostsFile: "/keys/a b/100%"}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", auth.sshCommand()+" -G git.example.com").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, line := range []string{"stricthostkeychecking true", "batchmode yes", "identitiesonly yes", "identityagent none"} {
		if !strings.Contains(string(out), line) {
			t.Errorf("ssh did not understand: no %q in\n%s", line, out)
		}
	}
}

func TestPasswordFiles(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "\n", "one\ntwo\n"} {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r := &Repo{cfg: Config{Name: "app", Auth: Auth{PasswordFile: file}}, secrets: &redact.Secrets{}}
		if got, err := r.access(t.Context()); !fault.Is(err, fault.Unauthorized) || strings.Contains(err.Error(), "two") {
			t.Errorf("access with %q: got %v, %v, want it refused", content, got, err)
		}
	}
}

// Who gives up waiting for a token was not refused one.
func TestTokenThatComesTooLate(t *testing.T) {
	t.Parallel()
	late := make(chan struct{})
	t.Cleanup(func() { close(late) })
	source := shortlived.New("token", func(context.Context) (shortlived.Credentials, error) {
		<-late
		return shortlived.Credentials{Password: "token"}, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := &Repo{cfg: Config{Name: "app", Auth: Auth{Source: source}}, secrets: redact.New()}
	if _, err := r.access(ctx); !fault.Is(err, fault.Unavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("access: %v of kind %s, want kind Unavailable", err, fault.KindOf(err))
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	messages := "remote: \x1b[31mfrozen\x1b[0m until monday        \nremote: \nhint: see the manual\n" +
		"error: failed to push some refs\nfatal: the remote end hung up\n"
	if got, want := hostMessages(messages), "[31mfrozen[0m until monday"; got != want {
		t.Errorf("hostMessages = %q, want %q", got, want)
	}
	want := "[31mfrozen[0m until monday; failed to push some refs; the remote end hung up"
	if got := reasonOf(messages); got != want {
		t.Errorf("reasonOf = %q, want %q", got, want)
	}
	ssh := "Host key verification failed.\r\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\n"
	if got, want := reasonOf(ssh), "Host key verification failed.; Could not read from remote repository."; got != want {
		t.Errorf("reasonOf = %q, want %q", got, want)
	}
	if got := kindOfMessages(ssh); got != fault.Unauthorized {
		t.Errorf("kindOfMessages = %s", got)
	}
	if got := reasonOf(strings.Repeat("é", maxReason)); len(got) > maxReason+len("...") {
		t.Errorf("reasonOf did not cut: %d bytes", len(got))
	}
}
