package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/tandem-cd/tandem/shared/fault"
)

// Causes of the end of our own contexts, to tell them from the caller's.
var (
	errListTimeout   = errors.New("registries.timeouts.list passed")
	errDigestTimeout = errors.New("registries.timeouts.digest passed")
)

// maxForeignText bounds what is quoted from a registry in an error.
const maxForeignText = 200

// subject is what was asked for.
type subject struct {
	repository name.Repository
	tag        string
	signed     string // the digest whose signatures were asked for
}

func (s subject) String() string {
	switch {
	case s.signed != "":
		return "signatures of " + s.repository.Name() + "@" + s.signed
	case s.tag == "":
		return "list tags of " + s.repository.Name()
	}
	return "digest of " + s.repository.Name() + ":" + s.tag
}

// headUnsupported reports whether GET may know more than the HEAD that failed: the registry refused the method or left
// out a header. A network that failed and a clear answer stay what they are.
func headUnsupported(err error) bool {
	if answer, ok := errors.AsType[*transport.Error](err); ok {
		switch answer.StatusCode {
		case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
			return true
		default:
			return false
		}
	}
	// Whatever the network did comes as *url.Error; what is left is go-containerregistry's complaint about headers.
	var network interface{ Timeout() bool }
	return !errors.As(err, &network) && !interrupted(err)
}

// explain returns an error in the words of the caller: what was asked of which registry, what it said, what to do; nil for
// none.
func (h *host) explain(ctx context.Context, s subject, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s: %w", s, cause)
	}
	if limited, ok := errors.AsType[*RateLimitedError](err); ok {
		return fmt.Errorf("%s: %w", s, limited)
	}
	if answer, ok := errors.AsType[*transport.Error](err); ok {
		return h.explainAnswer(s, answer)
	}
	var large *http.MaxBytesError
	var files filesError
	var certificate *tls.CertificateVerificationError
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("%s: registry %s sent an answer of more than %d bytes, which is not read", s, h.name, large.Limit)
	case errors.As(err, &files):
		return fmt.Errorf("%s: registry %s is not asked: %w", s, h.name, files.error)
	case errors.As(err, &certificate):
		return fmt.Errorf("%s: the certificate of registry %s is not trusted, set its caFile if it has a private one: %w", s, h.name, certificate.Err)
	case errors.As(err, &syntax), errors.As(err, &mistyped):
		return fmt.Errorf("%s: %s answers with something that is not a list of tags; check that it is a registry", s, h.name)
	case errors.Is(err, errPlainHTTP):
		return fmt.Errorf("%s: registry %s does not answer over HTTPS (%.*s); set insecure for it if it is meant to speak plain HTTP", s, h.name, maxForeignText, h.oneLine(err))
	case fault.Is(err, fault.Unauthorized), fault.Is(err, fault.Unavailable): // by a cloud or a Vault, before anything was asked
		return fault.New(fault.KindOf(err), "%s: %.*s", s, 4*maxForeignText, h.oneLine(err))
	default:
		return fmt.Errorf("%s: registry %s: %.*s", s, h.name, 2*maxForeignText, h.oneLine(err))
	}
}

// explainAnswer explains an answer that says no.
func (h *host) explainAnswer(s subject, answer *transport.Error) error {
	said := h.diagnosis(answer)
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.New(fault.Unauthorized, "%s: registry %s does not let us (%s): the repository is private or does not exist; %s", s, h.name, said, h.credentialAdvice())
	case http.StatusNotFound:
		return h.explainMissing(s, answer, said)
	case http.StatusTooManyRequests:
		return h.limited(s)
	case http.StatusServiceUnavailable:
		if h.budget.paused() != nil {
			return h.limited(s)
		}
	case http.StatusBadRequest:
		return fault.New(fault.Invalid, "%s: registry %s refuses the request (%s)", s, h.name, said)
	}
	return fmt.Errorf("%s: registry %s answers %s", s, h.name, said)
}

func (h *host) explainMissing(s subject, answer *transport.Error, said string) error {
	path := ""
	if answer.Request != nil && answer.Request.URL != nil {
		path = answer.Request.URL.Path
	}
	switch {
	case !strings.Contains(path, "/manifests/") && !strings.Contains(path, "/tags/"):
		return fmt.Errorf("%s: %s answers %s at %.*q: it is not a registry, or its token server is not where it says", s, h.name, said, maxForeignText, h.secrets.Text(path))
	case s.tag == "":
		return fault.New(fault.NotFound, "%s: registry %s has no such repository (%s); push an image or correct the name", s, h.name, said)
	default:
		return fault.New(fault.NotFound, "%s: registry %s has no such tag (%s)", s, h.name, said)
	}
}

func (h *host) limited(s subject) error {
	if err := h.budget.paused(); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return fmt.Errorf("%s: %w", s, &RateLimitedError{Host: h.name, After: defaultRetryAfter})
}

func (h *host) credentialAdvice() string {
	switch {
	case h.cfg.Vault.Given():
		return fmt.Sprintf("check that what Vault has at %s may read it", h.cfg.Vault.Path)
	case h.cfg.Username != "":
		return fmt.Sprintf("check that user %q and passwordFile of this registry may read it", h.cfg.Username)
	case h.cfg.Provider != "":
		return fmt.Sprintf("check that what this process is in the cloud of provider %s may read it", h.cfg.Provider)
	case h.cfg.DockerConfigFile != "":
		return "check that the entry for it in dockerConfigFile may read it"
	default:
		return "no credentials are configured for this registry, set username and passwordFile, dockerConfigFile, vault or provider"
	}
}

// diagnosis is the status with the first thing that the registry says about it, without our secrets, quoted and bounded.
func (h *host) diagnosis(answer *transport.Error) string {
	text := fmt.Sprintf("%d", answer.StatusCode)
	if len(answer.Errors) == 0 {
		return strings.TrimSpace(text + " " + http.StatusText(answer.StatusCode))
	}
	first := answer.Errors[0]
	return fmt.Sprintf("%s %.40q %.*q", text, h.secrets.Text(string(first.Code)), maxForeignText, h.secrets.Text(first.Message))
}

// oneLine returns an error's text without our secrets, line breaks and control characters: parts of it are foreign.
func (h *host) oneLine(err error) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, h.secrets.Text(err.Error()))
}
