package apply

import (
	"fmt"
	"net/http"
	"sync"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

// maxClients bounds the clients that are kept; each is small, the connections below are shared.
const maxClients = 1024

// Identity is the service account that writes.
type Identity struct{ Namespace, ServiceAccount string }

// User is the account's name in the API server.
func (i Identity) User() string {
	return "system:serviceaccount:" + i.Namespace + ":" + i.ServiceAccount
}

// String is "namespace/name".
func (i Identity) String() string { return i.Namespace + "/" + i.ServiceAccount }

// Clients makes clients that impersonate service accounts over shared connections. The API server's fairness governs how
// fast they may be; no limit is set here.
type Clients struct {
	config *rest.Config
	base   http.RoundTripper
	mu     sync.Mutex
	known  map[Identity]dynamic.Interface
}

// NewClients returns clients for a cluster.
func NewClients(config *rest.Config) (*Clients, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	base, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return &Clients{config: config, base: base, known: map[Identity]dynamic.Interface{}}, nil
}

// For returns the client that acts as a service account.
func (c *Clients) For(as Identity) (dynamic.Interface, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client, ok := c.known[as]; ok {
		return client, nil
	}
	impersonating := transport.NewImpersonatingRoundTripper(transport.ImpersonationConfig{UserName: as.User()}, c.base)
	client, err := dynamic.NewForConfigAndClient(c.config, &http.Client{Transport: impersonating})
	if err != nil {
		return nil, fmt.Errorf("act as %s: %w", as, err)
	}
	if len(c.known) >= maxClients {
		clear(c.known)
	}
	c.known[as] = client
	return client, nil
}
