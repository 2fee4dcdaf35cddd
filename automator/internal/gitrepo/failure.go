package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"unicode"

	"github.com/tandem-cd/tandem/shared/fault"
)

// maxReason bounds what a message of git's or of the host's may add to an error.
const maxReason = 600

// failure makes an error of a command that did not succeed: what was tried, and the lines that say why.
func (r *Repo) failure(ctx context.Context, c command, err error, messages string) error {
	what := fmt.Sprintf("git %s of %q", c.args[0], r.cfg.Name)
	if ctx.Err() != nil {
		cause := context.Cause(ctx)
		if errors.Is(cause, context.DeadlineExceeded) {
			return fmt.Errorf("%s: no end in time: %w", what, cause)
		}
		return fmt.Errorf("%s: %w", what, cause)
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	reason := reasonOf(messages)
	return &commandError{
		kind: kindOfMessages(messages),
		text: fmt.Sprintf("%s: %s", what, orElse(reason, exit.String())),
		host: hostMessages(messages),
		own:  ownMessages(messages),
	}
}

// commandError is a git command that ended with an error of its own.
type commandError struct {
	kind fault.Kind
	text string
	host string // what the remote said
	own  string // what git said itself: only that tells what became of a request
}

func (e *commandError) Error() string { return e.text }

// withKind gives a failed command the kind its messages speak for.
func withKind(err error) error {
	if failed, ok := errors.AsType[*commandError](err); ok && failed.kind != fault.Internal {
		return fault.Wrap(failed.kind, err)
	}
	return err
}

// whoAreYou is what git says when the remote knows nobody by what it was shown.
var whoAreYou = regexp.MustCompile(`(?:returned error:|HTTP) 401\b|Authentication failed|could not read (?:Username|Password)`)

func saysWhoAreYou(err error) bool {
	failed, ok := errors.AsType[*commandError](err)
	return ok && whoAreYou.MatchString(failed.own)
}

// What git and hosts say, in git's English (LC_ALL=C).
var (
	saysUnauthorized = regexp.MustCompile(`(?:returned error:|HTTP) 40[13]\b|Authentication failed|` +
		`could not read (?:Username|Password)|Permission denied|Permission to .* denied|Host key verification failed|` +
		`server certificate verification failed|SSL certificate problem`)
	saysRedirect = regexp.MustCompile(`(?:returned error:|HTTP) 30\d\b|unable to update url base from redirection`)
	saysNotFound = regexp.MustCompile(`(?:returned error:|HTTP) 404\b|[Rr]epository .*not found|` +
		`does not appear to be a git repository`)
	saysUnavailable = regexp.MustCompile(`(?:returned error:|HTTP) (?:429|5\d\d)\b|Could not resolve host|` +
		`Failed to connect|Couldn't connect|Connection (?:refused|reset|timed out|closed)|unable to access|hung up|` +
		`early EOF|unexpected disconnect|Operation too slow|Empty reply|Could not read from remote`)
)

// kindOfMessages is what a caller can do about a failed command; Internal where the messages say nothing we know.
func kindOfMessages(messages string) fault.Kind {
	switch {
	case saysUnauthorized.MatchString(messages):
		return fault.Unauthorized
	case saysRedirect.MatchString(messages):
		return fault.Invalid
	case saysNotFound.MatchString(messages):
		return fault.NotFound
	case saysUnavailable.MatchString(messages):
		return fault.Unavailable
	}
	return fault.Internal
}

// reasonOf picks the lines that say why out of git's messages, and those of ssh, which come before git's.
func reasonOf(messages string) string {
	var picked []string
	marked := false
	for line := range strings.Lines(messages) {
		line = strings.TrimSpace(printable(line))
		text, known := cutPrefixes(line, "fatal: ", "error: ", "remote: ", "ERROR: ")
		switch {
		case text == "" || strings.HasPrefix(line, "hint: ") || line == "remote:":
		case known || !marked:
			picked = append(picked, text)
			marked = marked || known
		}
	}
	return clip(strings.Join(picked, "; "))
}

// cutPrefixes takes the first prefix away that a line has.
func cutPrefixes(line string, prefixes ...string) (text string, found bool) {
	for _, prefix := range prefixes {
		if text, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(text), true
		}
	}
	return line, false
}

// hostMessages is what the remote itself said, such as a hook's reason.
func hostMessages(messages string) string {
	var said []string
	for line := range strings.Lines(messages) {
		text, ok := strings.CutPrefix(line, "remote:")
		if text = strings.TrimSpace(printable(text)); ok && text != "" {
			said = append(said, text)
		}
	}
	return clip(strings.Join(said, "; "))
}

// ownMessages is what git and ssh said, without what the remote did, whose hooks may say anything.
func ownMessages(messages string) string {
	var own strings.Builder
	for line := range strings.Lines(messages) {
		if !strings.HasPrefix(line, "remote:") {
			own.WriteString(line)
		}
	}
	return own.String()
}

// printable keeps foreign text from steering a terminal.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) || c == ' ' {
			return c
		}
		if c == '\t' {
			return ' '
		}
		return -1
	}, text)
}

func clip(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + "..."
}

func orElse(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
