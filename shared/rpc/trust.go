package rpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/tandem-cd/tandem/shared/credential"
)

// Roots returns the certificates to trust, for the chain that a server shows; it is asked for every handshake.
type Roots func(shown []*x509.Certificate) (*x509.CertPool, error)

// ClientTLS returns the configuration of a dialler that trusts what roots returns and, when certificate is not nil and
// returns one, shows it. Both are asked for every handshake, so that what was renewed counts from the next connection on.
func ClientTLS(serverName string, roots Roots, certificate func() *tls.Certificate) *tls.Config {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: serverName,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does what is skipped, with the roots of the moment
		VerifyConnection: func(state tls.ConnectionState) error {
			pool, err := roots(state.PeerCertificates)
			if err != nil {
				return err
			}
			return verifyServer(state, pool, serverName)
		},
	}
	if certificate != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if own := certificate(); own != nil {
				return own, nil
			}
			return &tls.Certificate{}, nil // shows none
		}
	}
	return cfg
}

func verifyServer(state tls.ConnectionState, roots *x509.CertPool, name string) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server shows no certificate")
	}
	between := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		DNSName: name, Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("the server's certificate is not trusted: %w", err)
	}
	return nil
}

// Pinned trusts those of the shown certificates whose key has a hash: how a caller that knows nothing else recognises an
// automator by its token.
func Pinned(hash credential.KeyHash) Roots {
	return func(shown []*x509.Certificate) (*x509.CertPool, error) {
		pool := x509.NewCertPool()
		found := false
		for _, cert := range shown {
			if cert.IsCA && credential.HashOf(cert) == hash {
				pool.AddCert(cert)
				found = true
			}
		}
		if !found {
			return nil, fmt.Errorf("the server does not show the CA that the token names (key %s): either this is not the automator that made the token, or a proxy ends TLS in between (then configure automator.proxy)", hash)
		}
		return pool, nil
	}
}

// Passes makes a pass for every call, for connections whose TLS a proxy ends.
type Passes struct {
	// Audience is the name of the automator that is meant: the host that is dialled.
	Audience string
	// Sign returns the present key and certificate; nil, to call without a pass.
	Sign func() (*ecdsa.PrivateKey, *x509.Certificate)
}

// passHeader is the metadata key of a pass, and passScheme what stands before it.
const (
	passHeader = "authorization"
	passScheme = "Tandem-Pass "
)

// GetRequestMetadata returns the header with a new pass.
func (p Passes) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	key, cert := p.Sign()
	if key == nil {
		return nil, nil
	}
	info, _ := credentials.RequestInfoFromContext(ctx)
	pass, err := credential.SignPass(key, cert, p.Audience, info.Method, time.Now())
	if err != nil {
		return nil, err
	}
	return map[string]string{passHeader: passScheme + pass}, nil
}

// RequireTransportSecurity keeps passes off connections that can be read.
func (p Passes) RequireTransportSecurity() bool { return true }
