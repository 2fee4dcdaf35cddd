package kubecluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"time"
)

// askTimeout bounds one question.
const askTimeout = 5 * time.Second

func (c *Cluster) etcdReady(ctx context.Context) error {
	return c.ask(ctx, c.etcdURL()+"/health")
}

func (c *Cluster) apiserverReady(ctx context.Context) error {
	return c.ask(ctx, c.URL()+"/readyz")
}

// controllersReady also waits for the service account that every Pod without
// one of its own runs as; until it is there, Pods are refused.
func (c *Cluster) controllersReady(ctx context.Context) error {
	if err := c.ask(ctx, "https://"+net.JoinHostPort(loopback, c.controllersPort)+"/healthz"); err != nil {
		return err
	}
	return c.ask(ctx, c.URL()+"/api/v1/namespaces/default/serviceaccounts/default")
}

// ask wants a 200 from one of the components, as the administrator.
func (c *Cluster) ask(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := c.admin.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return nil
}

// adminClient talks to the components without client-go, whose transports live
// as long as the program.
func (a *authority) adminClient() (*http.Client, error) {
	admin, err := a.user(Admin, []string{adminGroup})
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(admin.cert, admin.key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{cert}},
		// An API server that is restarted must not be asked over the dead
		// connection to the old one.
		DisableKeepAlives: true,
	}}, nil
}
