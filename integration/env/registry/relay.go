package registry

import (
	"net/http"
	"sync"
)

// Webhook is where the registry's notifications go.
type Webhook struct {
	URL    string
	Header http.Header // added to each, such as an Authorization
}

// Notify sends the notifications from now on to a webhook. Until it is called,
// and with an empty URL, they are dropped. The registry waits for a 2xx or 3xx
// answer to one before it sends the next, and repeats what failed.
//
// Pushes, pulls and deletions are all notified, in distribution's envelope.
func (r *Registry) Notify(hook Webhook) { r.relay.set(hook) }

// relay stands between distribution, whose endpoints are fixed when it starts,
// and a webhook that is known later. It passes answers back, so that the
// registry's own queue does the repeating.
type relay struct {
	transport http.Transport

	mu   sync.Mutex
	hook Webhook
}

func (l *relay) set(hook Webhook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hook = hook
}

func (l *relay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	hook := l.hook
	l.mu.Unlock()
	if hook.URL == "" {
		return // 200: taken
	}
	request, err := http.NewRequestWithContext(r.Context(), r.Method, hook.URL, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	request.ContentLength = r.ContentLength
	request.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	for name, values := range hook.Header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	response, err := l.transport.RoundTrip(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	w.WriteHeader(response.StatusCode)
}

func (l *relay) close() { l.transport.CloseIdleConnections() }
