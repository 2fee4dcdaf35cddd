package registry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/registry"
)

// certificate returns a certificate of its own making, and both as PEM.
func certificate(t *testing.T) (cert *x509.Certificate, certPEM, keyPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	cert, certPEM, keyPEM := certificate(t)
	w := &world{t: t}
	w.server = httptest.NewUnstartedServer(w.handler(nil))
	known := x509.NewCertPool()
	known.AddCert(cert)
	w.server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: known, MinVersion: tls.VersionTLS12}
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	w.host = strings.TrimPrefix(w.server.URL, "https://")
	ca := write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw})))
	ask := func(host registry.Host) error {
		host.CAFile = ca
		_, _, err := newClient(t, registry.Config{Hosts: map[string]registry.Host{w.host: host}}).Tags(t.Context(), w.host+"/acme/api")
		return err
	}
	if err := ask(registry.Host{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without a certificate: %v", err)
	}
	if err := ask(registry.Host{ClientCertFile: write(t, certPEM), ClientKeyFile: write(t, keyPEM)}); err == nil || !strings.Contains(err.Error(), "no such repository") {
		t.Errorf("with a certificate: %v, want the registry's answer", err)
	}
	if err := ask(registry.Host{ClientCertFile: write(t, certPEM), ClientKeyFile: write(t, "nothing")}); err == nil || !strings.Contains(err.Error(), "clientCertFile") {
		t.Errorf("with a key that is none: %v, want its name", err)
	}
}
