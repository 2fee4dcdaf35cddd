// Package vaulttest stands for a HashiCorp Vault in tests: a fake of the part of its HTTP API that the automator uses, as Vault's
// documentation describes it. Tokens, leases and secrets end and are refused as they do there.
package vaulttest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Grant is what a token may, and for how long.
type Grant struct {
	// TTL is how long a token lives, and how long it lives on when it is renewed; 0 is for ever.
	TTL time.Duration
	// MaxTTL bounds how long it can be renewed; 0 for ever.
	MaxTTL time.Duration
	// Renewable is whether it can be renewed at all.
	Renewable bool
	// NoSelf is whether it can neither renew itself nor look itself up, as without the policy default.
	NoSelf bool
	// Read are the paths that may be read.
	Read []string
}

// Fake is a Vault that nobody has to unseal. It is safe for concurrent use.
type Fake struct {
	mu        sync.Mutex
	namespace string
	sealed    bool
	broken    int
	active    string
	logins    map[string]login
	tokens    map[string]*token
	secrets   map[string]secret
	leases    map[string]lease
	issued    int
	asked     map[string]int
	denied    int
}

// login is a proof that an auth method takes, by path.
type login struct {
	body  map[string]string
	grant Grant
}

type token struct {
	grant Grant
	born  time.Time
	ends  time.Time // zero for never
}

// lease is what an engine made for a token.
type lease struct {
	token string
	ends  time.Time
}

// New returns a Vault in which there is nothing.
func New() *Fake {
	return &Fake{
		logins: map[string]login{}, tokens: map[string]*token{}, secrets: map[string]secret{}, leases: map[string]lease{}, asked: map[string]int{},
	}
}

// TakeLogin has an auth method at a path, such as "auth/approle/login", take what is in a body.
func (f *Fake) TakeLogin(path string, body map[string]string, grant Grant) {
	f.change(func() { f.logins[path] = login{body: body, grant: grant} })
}

// TakeToken makes a token.
func (f *Fake) TakeToken(value string, grant Grant) {
	f.change(func() { f.tokens[value] = newToken(grant) })
}

// Allow has a path be read by all tokens that there are, and that there will be.
func (f *Fake) Allow(path string) {
	f.change(func() {
		for _, t := range f.tokens {
			t.grant.Read = append(slices.Clone(t.grant.Read), path)
		}
		for at, l := range f.logins {
			l.grant.Read = append(slices.Clone(l.grant.Read), path)
			f.logins[at] = l
		}
	})
}

// RevokeTokens revokes all tokens, and with them their leases.
func (f *Fake) RevokeTokens() { f.change(func() { f.tokens = map[string]*token{} }) }

// Seal seals it, or unseals it.
func (f *Fake) Seal(sealed bool) { f.change(func() { f.sealed = sealed }) }

// Break has it answer everything with a status; 0 has it work again.
func (f *Fake) Break(status int) { f.change(func() { f.broken = status }) }

// StandBy has it send everybody to the active node at an address.
func (f *Fake) StandBy(active string) { f.change(func() { f.active = active }) }

// InNamespace has it know nobody who does not name a namespace.
func (f *Fake) InNamespace(namespace string) { f.change(func() { f.namespace = namespace }) }

// Asked is how often it was asked for a path, or for a method and a path.
func (f *Fake) Asked(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[path]
}

// Denied is how often somebody came with a token that did not count.
func (f *Fake) Denied() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.denied
}

// Counts tells whether a password that an engine made counts: its lease has not ended, nor has its token.
func (f *Fake) Counts(password string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	made, ok := f.leases[password]
	return ok && time.Now().Before(made.ends) && f.tokens[made.token].lives()
}

func (f *Fake) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

func newToken(grant Grant) *token {
	t := &token{grant: grant, born: time.Now()}
	t.renew()
	return t
}

// renew has a token live on, and returns for how long.
func (t *token) renew() time.Duration {
	if t.grant.TTL == 0 {
		return 0
	}
	t.ends = time.Now().Add(t.grant.TTL)
	if last := t.born.Add(t.grant.MaxTTL); t.grant.MaxTTL > 0 && t.ends.After(last) {
		t.ends = last
	}
	return time.Until(t.ends)
}

func (t *token) lives() bool { return t != nil && (t.ends.IsZero() || time.Now().Before(t.ends)) }

// ServeHTTP answers as Vault does.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	f.asked[path]++
	switch {
	case f.broken != 0:
		fail(w, f.broken, "internal error")
	case f.sealed:
		fail(w, http.StatusServiceUnavailable, "Vault is sealed")
	case f.active != "":
		http.Redirect(w, r, f.active+r.URL.RequestURI(), http.StatusTemporaryRedirect) //nolint:gosec // to where the test says
	case r.Header.Get("X-Vault-Request") != "true":
		fail(w, http.StatusPreconditionFailed, "missing 'X-Vault-Request' header")
	case r.Header.Get("X-Vault-Namespace") != f.namespace:
		fail(w, http.StatusForbidden, "permission denied")
	case strings.HasPrefix(path, "auth/") && strings.HasSuffix(path, "/login"):
		f.logIn(w, r, path)
	default:
		f.known(w, r, path)
	}
}

// known answers whoever has a token.
func (f *Fake) known(w http.ResponseWriter, r *http.Request, path string) {
	value := r.Header.Get("X-Vault-Token")
	t := f.tokens[value]
	switch {
	case !t.lives():
		f.denied++
		fail(w, http.StatusForbidden, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
	case path == "auth/token/lookup-self" && r.Method == http.MethodGet && !t.grant.NoSelf:
		respond(w, t.lookUp(value))
	case path == "auth/token/renew-self" && r.Method == http.MethodPost && !t.grant.NoSelf:
		t.renewSelf(w, value)
	case !slices.Contains(t.grant.Read, path):
		fail(w, http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
	case r.Method != http.MethodGet:
		fail(w, http.StatusMethodNotAllowed, "1 error occurred:\n\t* unsupported operation\n\n")
	default:
		f.read(w, path, value)
	}
}

func (f *Fake) logIn(w http.ResponseWriter, r *http.Request, path string) {
	want, enabled := f.logins[path]
	body := map[string]string{}
	switch {
	case !enabled:
		fail(w, http.StatusForbidden, "permission denied")
		return
	case r.Method != http.MethodPost || decode(r.Body, &body) != nil || !maps.Equal(body, want.body):
		// Some methods say what they were shown.
		fail(w, http.StatusBadRequest, "invalid role or secret ID: "+strings.Join(slices.Sorted(maps.Values(body)), " "))
		return
	}
	value := f.next("hvs.")
	t := newToken(want.grant)
	f.tokens[value] = t
	respond(w, authOf(value, t, t.left()))
}
