package vaulttest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"
)

// secret is what is at a path.
type secret struct {
	version int            // of a KV of version 2; 0 elsewhere
	deleted bool           // the newest version is
	fields  map[string]any // of a KV
	seconds int            // lease_duration
	life    time.Duration  // of a lease, for what is made when it is read
}

// PutKV2 writes the next version of a secret of a KV of version 2, by its path with data/.
func (f *Fake) PutKV2(path string, fields map[string]any) {
	f.change(func() { f.secrets[path] = secret{version: f.secrets[path].version + 1, fields: fields} })
}

// DeleteKV2 deletes the newest version of such a secret.
func (f *Fake) DeleteKV2(path string) {
	f.change(func() {
		s := f.secrets[path]
		s.deleted = true
		f.secrets[path] = s
	})
}

// PutKV1 writes a secret of a KV of version 1. Where it has no ttl of its own Vault tells the longest lease that it gives.
func (f *Fake) PutKV1(path string, fields map[string]any, ttl time.Duration) {
	const longest = 768 * time.Hour
	if ttl == 0 {
		ttl = longest
	}
	f.change(func() { f.secrets[path] = secret{fields: fields, seconds: int(ttl.Seconds())} })
}

// MakeAt has an engine make a user and a password whenever a path is read, which count for a while.
func (f *Fake) MakeAt(path string, life time.Duration) {
	f.change(func() { f.secrets[path] = secret{life: life} })
}

// read answers a request for a secret. Who calls it holds the lock.
func (f *Fake) read(w http.ResponseWriter, path, token string) {
	s, there := f.secrets[path]
	switch {
	case !there:
		fail(w, http.StatusNotFound)
	case s.life > 0:
		password := f.next("made-")
		f.leases[password] = lease{token: token, ends: time.Now().Add(s.life)}
		respond(w, map[string]any{
			"lease_id": path + "/" + password, "lease_duration": int(s.life.Seconds()), "renewable": true,
			"data": map[string]any{"username": "v-" + password, "password": password},
		})
	case s.version == 0:
		respond(w, map[string]any{"lease_id": "", "lease_duration": s.seconds, "renewable": false, "data": s.fields})
	default:
		metadata := map[string]any{"created_time": "2026-01-02T03:04:05.678Z", "deletion_time": "", "destroyed": false, "version": s.version}
		answer := map[string]any{"lease_id": "", "lease_duration": 0, "renewable": false, "data": map[string]any{"data": s.fields, "metadata": metadata}}
		if s.deleted {
			metadata["deletion_time"] = "2026-01-02T03:04:06.789Z"
			answer["data"] = map[string]any{"data": nil, "metadata": metadata}
			w.WriteHeader(http.StatusNotFound)
		}
		respond(w, answer)
	}
}

func (t *token) lookUp(value string) map[string]any {
	data := map[string]any{"id": value, "ttl": int(t.left().Seconds()), "renewable": t.grant.Renewable, "type": "service", "expire_time": nil}
	if !t.ends.IsZero() {
		data["expire_time"] = t.ends.UTC().Format(time.RFC3339Nano)
	}
	return map[string]any{"lease_id": "", "lease_duration": 0, "renewable": false, "data": data, "auth": nil}
}

func (t *token) renewSelf(w http.ResponseWriter, value string) {
	if !t.grant.Renewable {
		fail(w, http.StatusBadRequest, "lease is not renewable")
		return
	}
	respond(w, authOf(value, t, t.renew()))
}

// left is how long a token lives; 0 is for ever.
func (t *token) left() time.Duration {
	if t.ends.IsZero() {
		return 0
	}
	return time.Until(t.ends)
}

func authOf(value string, t *token, left time.Duration) map[string]any {
	return map[string]any{"data": nil, "auth": map[string]any{
		"client_token": value, "lease_duration": int(left.Seconds()), "renewable": t.grant.Renewable, "token_type": "service", "policies": []string{"default"},
	}}
}

// next makes a value that nobody had before.
func (f *Fake) next(prefix string) string {
	f.issued++
	return fmt.Sprintf("%sCAESIJ-fake-%04d", prefix, f.issued)
}

func fail(w http.ResponseWriter, status int, messages ...string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	respond(w, map[string]any{"errors": append([]string{}, messages...)})
}

// respond writes an answer.
func respond(w http.ResponseWriter, answer any) {
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		panic(http.ErrAbortHandler) // who asked has gone
	}
}

func decode(from io.Reader, into any) error { return json.NewDecoder(from).Decode(into) }

// Start serves a Fake by plain HTTP on loopback, and by TLS where it is wanted.
func (f *Fake) Start(tls bool) *httptest.Server {
	if tls {
		return httptest.NewTLSServer(f)
	}
	return httptest.NewServer(f)
}
