// Package webhook turns what registries and Git hosts post into hints.
//
// A hint is never more than that: who takes it asks the registry or the Git server what is true. So a payload cannot say
// anything that matters, and its worst use is to make us look once more, at most a bounded number of times a second.
//
// The handler checks the caller before it parses a body, and before it reads one unless it is the body that is signed; it
// reads a bounded body, puts what it found aside and answers. Run passes hints on; nothing that happens there can hold a
// caller up.
//
// # Callers
//
// Registries post to /hooks/<kind>: distribution (or registry), dockerhub, github, gitlab, harbor, quay, ecr, gar, gcr, acr,
// artifactory, nexus, cdevents, generic. Git hosts of any kind post to /hooks/git/<repository>. There is one secret, and
// each caller proves that it knows it the way it can:
//
//	Authorization: Bearer, Basic (as the password), or the secret alone (Harbor, ACR, ECR, Quay, Azure DevOps, ...)
//	X-Hub-Signature-256, X-Hub-Signature   HMAC-SHA256 of the body (GitHub, Bitbucket, Gitea)
//	X-Gitea-Signature, X-Forgejo-Signature  likewise
//	X-Gitlab-Token                          the secret
//	X-JFrog-Event-Auth                      the secret, or HMAC-SHA256 of the body
//	X-Nexus-Webhook-Signature               HMAC-SHA1 of the body, for Nexus alone
//	?token=                                 the secret, for dockerhub, quay, gar and gcr, which can send no header
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
	// Refused, if set, is told of every delivery that is refused: of which kind, and in a word why. It MUST NOT block.
	Refused func(kind, reason string)
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer
}

// Hooks is the handler. Serve it over HTTP, and run Run beside it.
type Hooks struct {
	secret     secret
	hosts      map[string]string
	deps       Deps
	mux        *http.ServeMux
	inbox      *inbox
	deliveries *deliveries

	metrics *metrics
}

// New returns the handler. A secret is required.
func New(cfg Config, deps Deps) (*Hooks, error) {
	if cfg.Token == "" {
		return nil, errors.New("webhook token is empty; anybody could then make us ask registries and Git hosts")
	}
	hosts := make(map[string]string, len(cfg.Hosts))
	for host, registry := range cfg.Hosts {
		hosts[strings.ToLower(host)] = strings.ToLower(registry)
	}
	if deps.Refused == nil {
		deps.Refused = func(string, string) {}
	}
	h := &Hooks{
		secret: newSecret(cfg.Token), hosts: hosts, deps: deps, mux: http.NewServeMux(), inbox: newInbox(), deliveries: newDeliveries(),
		metrics: newMetrics(deps.Metrics),
	}
	for _, p := range providers() {
		h.mux.HandleFunc("POST /hooks/"+p.name, func(w http.ResponseWriter, req *http.Request) { h.registry(w, req, &p) })
	}
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

// ServeHTTP takes a notification.
func (h *Hooks) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	h.mux.ServeHTTP(&counted{ResponseWriter: w, metrics: h.metrics}, req)
}

// refusal is why a delivery is not taken: in a word for counting, and in a sentence for the caller.
type refusal struct {
	code   int
	reason string
	text   string
}

func (h *Hooks) refuse(w http.ResponseWriter, kind string, r *refusal) {
	h.deps.Refused(kind, r.reason)
	if r.code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tandem"`)
	}
	answer(w, r.code, reply{Error: r.text})
}

func unauthorized(text string) *refusal {
	return &refusal{http.StatusUnauthorized, "unauthorized", text}
}

// prove checks what can be checked of a caller before its body is read.
func (h *Hooks) prove(req *http.Request, p *provider) (*proof, *refusal) {
	proof := h.secret.proofOf(req, p)
	switch {
	case proof == nil:
		return nil, unauthorized("send the header Authorization: Bearer with the secret of webhook.tokenFile, or sign the body with it")
	case proof.signed() && len(proof.want) == 0:
		return nil, unauthorized("the signature is not hexadecimal")
	case !proof.signed() && !h.secret.holds(proof):
		return nil, unauthorized("the secret is not that of webhook.tokenFile")
	}
	return proof, nil
}

// registry takes a notification of a registry.
func (h *Hooks) registry(w http.ResponseWriter, req *http.Request, p *provider) {
	notices, r := h.receive(w, req, p)
	if r != nil {
		h.refuse(w, p.name, r)
		return
	}
	taken := 0
	for _, n := range notices {
		repository, ok := n.locate(h.hosts)
		if ok && h.deps.FollowsImage(repository) {
			h.inbox.put(key{repository: repository}, n.tag)
			h.metrics.hints.WithLabelValues("registry").Inc()
			taken++
		}
	}
	accept(w, taken)
}

// receive reads, checks and parses a body; nothing comes of one that was there already.
func (h *Hooks) receive(w http.ResponseWriter, req *http.Request, p *provider) ([]notice, *refusal) {
	proof, r := h.prove(req, p)
	if r != nil {
		return nil, r
	}
	if kind := req.Header.Get("Content-Type"); !acceptable(kind) {
		return nil, &refusal{
			http.StatusUnsupportedMediaType, "media type",
			fmt.Sprintf("content type %.100q is not JSON: one of %s", kind, strings.Join(mediaTypes(), ", ")),
		}
	}
	body, r := readBody(w, req)
	if r != nil {
		return nil, r
	}
	if proof.signed() {
		_, _ = proof.mac.Write(body) // a hash never fails
		if !h.secret.holds(proof) {
			return nil, unauthorized("the signature is not one of this body with the secret of webhook.tokenFile")
		}
	}
	notices, err := p.parse(body)
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "body", err.Error()}
	}
	if id := deliveryID(req, proof); id != "" && h.deliveries.again(p.name+" "+id, time.Now()) {
		return nil, nil
	}
	return notices, nil
}

func readBody(w http.ResponseWriter, req *http.Request) ([]byte, *refusal) {
	// Not every server can; then its own timeouts have to do.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, MaxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, &refusal{
			http.StatusRequestEntityTooLarge, "too large",
			fmt.Sprintf("a notification may have %d bytes; send fewer events at a time", MaxBody),
		}
	}
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "cut", "the body ended early"}
	}
	return body, nil
}

// git takes a push event of a Git host. What it says is of no concern: the repository is fetched.
func (h *Hooks) git(w http.ResponseWriter, req *http.Request) {
	proof, r := h.prove(req, &provider{})
	if r != nil {
		h.refuse(w, "git", r)
		return
	}
	repository := req.PathValue("repository")
	if !h.deps.FollowsGit(repository) {
		h.refuse(w, "git", &refusal{
			http.StatusNotFound, "unknown repository",
			fmt.Sprintf("there is no repository %.253q in the configuration", repository),
		})
		return
	}
	hint := func() {
		h.inbox.put(key{repository: repository, git: true}, "")
		h.metrics.hints.WithLabelValues("git").Inc()
	}
	into := io.Discard
	if proof.signed() {
		into = proof.mac
	} else {
		hint() // before the body, which may take its time
	}
	// A caller that is answered amid its body may take that for a failure.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	_, err := io.Copy(into, http.MaxBytesReader(w, req.Body, maxIgnored))
	if proof.signed() {
		if err != nil || !h.secret.holds(proof) {
			h.refuse(w, "git", unauthorized("the signature is not one of this body with the secret of webhook.tokenFile"))
			return
		}
		if !h.deliveries.again("git "+repository+" "+deliveryID(req, proof), time.Now()) {
			hint()
		}
	}
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
	return err == nil && (slices.Contains(mediaTypes(), mediaType) || strings.HasSuffix(mediaType, "+json"))
}

// reply is the answer to a call: how many hints in it somebody will hear, or why it was not understood.
type reply struct {
	Hints *int   `json:"hints,omitempty"`
	Error string `json:"error,omitempty"`
}

func accept(w http.ResponseWriter, hints int) { answer(w, http.StatusAccepted, reply{Hints: &hints}) }

func answer(w http.ResponseWriter, code int, body reply) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		return // the caller is gone, and nobody else would care
	}
}
