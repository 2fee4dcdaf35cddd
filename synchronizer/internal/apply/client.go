package apply

import (
	"fmt"
	"net/http"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

// Identity is whom a write happens as.
type Identity struct {
	Namespace      string
	ServiceAccount string
}

// String is the identity as people write it.
func (i Identity) String() string { return i.Namespace + "/" + i.ServiceAccount }

// User is the identity as the API server writes it. The groups of a service
// account follow from its name there.
func (i Identity) User() string {
	return "system:serviceaccount:" + i.Namespace + ":" + i.ServiceAccount
}

// clients makes a client per identity on one shared transport, hence on the
// same connections. Making one costs a few microseconds, so none is kept.
type clients struct {
	config *rest.Config
	http   *http.Client
}

func newClients(config *rest.Config) (*clients, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1                  // priority and fairness in the API server decides who waits
	config.DisableCompression = true // costs both sides more than a cluster's network
	config.WarningHandlerWithContext = warningHandler{}
	config = dynamic.ConfigFor(config)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("client of the API server: %w", err)
	}
	return &clients{config, client}, nil
}

// as returns a client that acts as an identity.
func (c *clients) as(who Identity) (dynamic.Interface, error) {
	acting := *c.http
	acting.Transport = transport.NewImpersonatingRoundTripper(transport.ImpersonationConfig{UserName: who.User()}, c.http.Transport)
	return dynamic.NewForConfigAndClient(c.config, &acting)
}
