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
// artifactory, nexus, cdevents, generic. Git hosts of any kind post to /hooks/git/<repository>. Each caller has secrets,
// and proves that it knows one the way it can:
//
//	Authorization: Bearer, Basic (as the password), or the secret alone (Harbor, ACR, ECR, Quay, Azure DevOps, ...)
//	X-Hub-Signature-256, X-Hub-Signature   HMAC-SHA256 of the body (GitHub, Bitbucket, Gitea)
//	X-Gitea-Signature, X-Forgejo-Signature  likewise
//	X-Gitlab-Token                          the secret
//	X-JFrog-Event-Auth                      the secret, or HMAC-SHA256 of the body
//	X-Nexus-Webhook-Signature               HMAC-SHA1 of the body, for Nexus alone
//	?token=                                 the secret, for dockerhub, quay, gar and gcr, which can send no header
//
// A push subscription of Pub/Sub may instead send a token of its service account (gar, gcr).
package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	// Callers are who may call.
	Callers []Caller
	// Reread, if set, returns them with the secrets that they have by now. Who they are stays the same.
	Reread func() ([]Caller, error)
	// GoogleKeys is where the keys are published that sign tokens of Pub/Sub; empty means Google's own address.
	GoogleKeys string
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
	// HintReferrer, if set, says that something without a tag was pushed to a followed image repository: it may be a signature.
	HintReferrer func(repository string)
	// FollowsGit reports whether there is a Git repository of a name.
	FollowsGit func(repository string) bool
	// HintGit says that a Git repository may have changed.
	HintGit func(repository string)
	// Accepted, if set, is told of every delivery that is taken: of which kind, and whose it was. It MUST NOT block.
	Accepted func(kind, caller string)
	// Refused, if set, is told of every delivery that is refused: of which kind, and in a word why. It MUST NOT block.
	Refused func(kind, reason string)
	// Failed, if set, is told why keys or secrets could not be read. It MUST NOT block.
	Failed func(error)
	// Client asks for keys; nil means http.DefaultClient. Its redirects are not followed.
	Client *http.Client
	// Metrics is where metrics are registered; nil counts for nobody.
	Metrics prometheus.Registerer
}

// Hooks is the handler. Serve it over HTTP, and run Run beside it.
type Hooks struct {
	secrets    atomic.Pointer[secrets]
	reread     func() ([]Caller, error) // nil where secrets stay as they are
	unread     string                   // why secrets were not read when they were to be last; empty if they were
	hashing    chan struct{}            // see proof
	google     *google                  // nil where nobody is known by it
	hosts      map[string]string
	deps       Deps
	mux        *http.ServeMux
	inbox      *inbox
	deliveries *deliveries

	metrics *metrics
}

// New returns the handler. A caller is required.
func New(cfg Config, deps Deps) (*Hooks, error) {
	all, known, err := secretsOf(cfg.Callers)
	if err != nil {
		return nil, err
	}
	hosts := make(map[string]string, len(cfg.Hosts))
	for host, registry := range cfg.Hosts {
		hosts[strings.ToLower(host)] = strings.ToLower(registry)
	}
	if deps.Accepted == nil {
		deps.Accepted = func(string, string) {}
	}
	if deps.Refused == nil {
		deps.Refused = func(string, string) {}
	}
	if deps.HintReferrer == nil {
		deps.HintReferrer = func(string) {}
	}
	if deps.Failed == nil {
		deps.Failed = func(error) {}
	}
	if deps.Client == nil {
		deps.Client = http.DefaultClient
	}
	h := &Hooks{
		reread: cfg.Reread, hashing: make(chan struct{}, 1), hosts: hosts, deps: deps, mux: http.NewServeMux(), inbox: newInbox(),
		deliveries: newDeliveries(), metrics: newMetrics(deps.Metrics, cfg.Callers),
	}
	h.secrets.Store(&all)
	if len(known) > 0 {
		address := cmp.Or(cfg.GoogleKeys, GoogleKeys)
		if err := checkKeysURL(address); err != nil {
			return nil, err
		}
		h.google = &google{callers: known, keys: newKeySet(address, deps.Client, deps.Failed)}
	}
	for _, p := range providers() {
		h.mux.HandleFunc("POST /hooks/"+p.name, func(w http.ResponseWriter, req *http.Request) { h.registry(w, req, &p) })
	}
	h.mux.HandleFunc("POST /hooks/git/{repository}", h.git)
	return h, nil
}

// Run passes hints on, and reads secrets again, until the context is done.
func (h *Hooks) Run(ctx context.Context) error {
	var reader sync.WaitGroup
	defer reader.Wait()
	if h.reread != nil {
		reader.Go(func() { h.keepReading(ctx) })
	}
	return h.inbox.run(ctx, func(k key, tag string) {
		switch {
		case k.git:
			h.deps.HintGit(k.repository)
		case k.referrer:
			h.deps.HintReferrer(k.repository)
		default:
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

// prove checks what can be checked of a caller before its body is read, and returns who it is unless that depends on the body.
func (h *Hooks) prove(req *http.Request, p *provider) (*proof, string, *refusal) {
	proof := h.secrets.Load().proofOf(req, p)
	switch {
	case proof == nil:
		return nil, "", unauthorized("send the header Authorization: Bearer with the token of a caller of webhook, or sign the body with it")
	case proof.signed() && len(proof.want) == 0:
		return nil, "", unauthorized("the signature is not hexadecimal")
	case proof.signed():
		proof.hashing = h.hashing
		return proof, "", nil
	}
	caller, ok := proof.holder()
	switch {
	case ok:
		return proof, caller, nil
	case h.google == nil || !p.google || !looksLikeToken(proof.given):
		return nil, "", unauthorized("the token is not one of a caller of webhook")
	}
	caller, err := h.google.whose(req.Context(), proof.given)
	switch {
	case errors.Is(err, errNoKeys): // why is for the log: it tells of our network
		return nil, "", &refusal{http.StatusServiceUnavailable, "no keys", errNoKeys.Error()}
	case err != nil:
		return nil, "", unauthorized(err.Error())
	}
	return proof, caller, nil
}

// signer is who signed a body that has gone through the proof.
func signer(p *proof) (string, *refusal) {
	caller, ok := p.holder()
	if !ok {
		return "", unauthorized("the signature is not one of this body with the token of a caller of webhook")
	}
	return caller, nil
}

// took takes note of whose a delivery was.
func (h *Hooks) took(kind, caller string) {
	h.metrics.calls.WithLabelValues(caller).Inc()
	h.deps.Accepted(kind, caller)
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
			h.inbox.put(key{repository: repository, referrer: n.tag == ""}, n.tag)
			h.metrics.hints.WithLabelValues("registry").Inc()
			taken++
		}
	}
	accept(w, taken)
}

// receive reads, checks and parses a body; nothing comes of one that was there already.
func (h *Hooks) receive(w http.ResponseWriter, req *http.Request, p *provider) ([]notice, *refusal) {
	proof, caller, r := h.prove(req, p)
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
		_, _ = proof.Write(body) // a hash never fails
		if caller, r = signer(proof); r != nil {
			return nil, r
		}
	}
	notices, err := p.parse(body)
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "body", err.Error()}
	}
	h.took(p.name, caller)
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
	proof, caller, r := h.prove(req, &provider{})
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
		into = proof
	} else {
		hint() // before the body, which may take its time
	}
	// A caller that is answered amid its body may take that for a failure.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	_, err := io.Copy(into, http.MaxBytesReader(w, req.Body, maxIgnored))
	if proof.signed() {
		if err != nil {
			h.refuse(w, "git", &refusal{http.StatusBadRequest, "cut", "the body is too large or ended early"})
			return
		}
		if caller, r = signer(proof); r != nil {
			h.refuse(w, "git", r)
			return
		}
		if !h.deliveries.again("git "+repository+" "+deliveryID(req, proof), time.Now()) {
			hint()
		}
	}
	h.took("git", caller)
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
