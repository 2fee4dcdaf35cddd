// Package webhook turns what registries and Git hosts post into hints.
//
// A hint is never more than that: who takes it asks the registry or the Git server what is true. So a payload cannot say
// anything that matters, and its worst use is to make us look once more, at most a bounded number of times a second.
//
// The handler checks the caller before it reads a body, reads a bounded body, puts what it found aside and answers. Run
// passes hints on; nothing that happens there can hold a caller up.
package webhook

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Limits on what a caller can send.
const (
	// MaxBody bounds the body of a registry's notification, in bytes.
	MaxBody = 1 << 20
	// maxIgnored bounds the body of a Git host's call, in bytes. GitHub sends up to 25 MiB.
	maxIgnored = 32 << 20
	// bodyTimeout is how long a caller may take to send it.
	bodyTimeout = 10 * time.Second
)

// Config says who may call and what registries are called.
type Config struct {
	// Token is the secret that callers show as "Authorization: Bearer <token>".
	Token string
	// Hosts maps the host that a registry calls itself in notifications to the registry as pipelines write it. The empty
	// host is that of notifications which name none.
	Hosts map[string]string
}

// Deps are who takes the hints. None of the functions may block.
type Deps struct {
	// FollowsImage reports whether anybody wants to know about an image repository.
	FollowsImage func(repository string) bool
	// HintImage says that a tag of a followed image repository may be new or may have moved; an empty tag says that
	// anything may have.
	HintImage func(repository, tag string)
	// FollowsGit reports whether there is a Git repository of a name.
	FollowsGit func(repository string) bool
	// HintGit says that a Git repository may have changed.
	HintGit func(repository string)
}

// Hooks is the handler. Serve it over HTTP, and run Run beside it.
type Hooks struct {
	token [sha256.Size]byte
	hosts map[string]string
	deps  Deps
	mux   *http.ServeMux
	inbox *inbox
}

// New returns a handler of POST /hooks/registry and POST /hooks/git/{repository}.
func New(cfg Config, deps Deps) (*Hooks, error) {
	if cfg.Token == "" {
		return nil, errors.New("webhook token is empty; anybody could then make us ask registries and Git hosts")
	}
	hosts := make(map[string]string, len(cfg.Hosts))
	for host, registry := range cfg.Hosts {
		hosts[strings.ToLower(host)] = strings.ToLower(registry)
	}
	h := &Hooks{token: sha256.Sum256([]byte(cfg.Token)), hosts: hosts, deps: deps, mux: http.NewServeMux(), inbox: newInbox()}
	h.mux.HandleFunc("POST /hooks/registry", h.registry)
	h.mux.HandleFunc("POST /hooks/git/{repository}", h.git)
	return h, nil
}

// Run passes hints on until the context is done.
func (h *Hooks) Run(ctx context.Context) error {
	return h.inbox.run(ctx, func(k key, tag string) {
		if k.git {
			h.deps.HintGit(k.repository)
		} else {
			h.deps.HintImage(k.repository, tag)
		}
	})
}

// ServeHTTP answers a call.
func (h *Hooks) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !h.authorized(req) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tandem"`)
		refuse(w, http.StatusUnauthorized, "send the header Authorization: Bearer with the token of webhook.tokenFile")
		return
	}
	h.mux.ServeHTTP(w, req)
}

// authorized compares in a time that tells nothing about the token, not even its length.
func (h *Hooks) authorized(req *http.Request) bool {
	scheme, given, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(sum[:], h.token[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// registry takes a notification in the format of the distribution project, which is spoken by its registry and those
// that are made from it.
func (h *Hooks) registry(w http.ResponseWriter, req *http.Request) {
	if kind := req.Header.Get("Content-Type"); !acceptable(kind) {
		refuse(w, http.StatusUnsupportedMediaType, fmt.Sprintf("content type %.100q is not one of %s", kind, strings.Join(mediaTypes(), ", ")))
		return
	}
	// Not every server can; then its own timeouts have to do.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, MaxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a notification may have %d bytes; send fewer events at a time", MaxBody))
		return
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "the body ended early")
		return
	}
	notices, err := parse(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	taken := 0
	for _, n := range notices {
		repository, ok := n.locate(h.hosts)
		if ok && h.deps.FollowsImage(repository) {
			h.inbox.put(key{repository: repository}, n.tag)
			taken++
		}
	}
	accept(w, taken)
}

// git takes word that a Git repository changed. Hosts send all kinds of bodies; what they say does not matter.
func (h *Hooks) git(w http.ResponseWriter, req *http.Request) {
	repository := req.PathValue("repository")
	if !h.deps.FollowsGit(repository) {
		refuse(w, http.StatusNotFound, fmt.Sprintf("there is no repository %.253q in the configuration", repository))
		return
	}
	h.inbox.put(key{repository: repository, git: true}, "")
	// A caller that is answered amid its body may take that for a failure.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, req.Body, maxIgnored))
	accept(w, 1)
}

// mediaTypes are the formats that a registry's notification may come in: both versions of the distribution project's,
// which differ in fields that are not read here.
func mediaTypes() []string {
	return []string{
		"application/vnd.docker.distribution.events.v2+json",
		"application/vnd.docker.distribution.events.v1+json",
		"application/json",
	}
}

func acceptable(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && slices.Contains(mediaTypes(), mediaType)
}

// reply is the answer to a call: how many hints in it somebody will hear, or why it was not understood.
type reply struct {
	Hints *int   `json:"hints,omitempty"`
	Error string `json:"error,omitempty"`
}

func accept(w http.ResponseWriter, hints int) { answer(w, http.StatusAccepted, reply{Hints: &hints}) }

func refuse(w http.ResponseWriter, code int, reason string) { answer(w, code, reply{Error: reason}) }

func answer(w http.ResponseWriter, code int, body reply) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		return // the caller is gone, and nobody else would care
	}
}
