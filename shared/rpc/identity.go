package rpc

import (
	"context"
	"crypto/x509"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
)

// Role says what kind of caller an identity is.
type Role string

// The roles, as they stand in a certificate's URI.
const (
	// RoleCluster is a synchronizer.
	RoleCluster Role = "cluster"
	// RoleUser is a person or a program that asks questions.
	RoleUser Role = "user"
)

// Identity is who calls.
type Identity struct {
	// Role is the kind of caller.
	Role Role
	// Name is the cluster's or the user's name.
	Name string
	// Groups are the groups of a user where the authority names them.
	Groups []string
	// Issued is when the certificate was issued that says so; zero where none does.
	Issued time.Time
}

// String returns the identity as "cluster/prod-eu".
func (id Identity) String() string { return string(id.Role) + "/" + id.Name }

// Identify finds out who calls, from the certificate, a token or whatever else the server accepts. It returns an
// Unauthorized fault for callers it does not know.
type Identify func(ctx context.Context) (Identity, error)

// uriScheme starts the URI by which a certificate names its holder: tandem://<role>/<name>.
const uriScheme = "tandem"

// IdentityURI returns the URI that a certificate of id carries.
func IdentityURI(id Identity) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: string(id.Role), Path: "/" + id.Name}
}

// FromCertificate identifies callers by the certificate that the TLS handshake verified. It is the Identify of
// listeners with mutual TLS.
func FromCertificate(ctx context.Context) (Identity, error) {
	cert, ok := PeerCertificate(ctx)
	if !ok {
		return Identity{}, fault.New(fault.Unauthorized, "no verified client certificate; connect with one that the automator's CA signed")
	}
	return IdentityOf(cert)
}

// PeerCertificate returns the certificate that the TLS handshake of the caller's connection verified; false when it
// showed none.
func PeerCertificate(ctx context.Context) (*x509.Certificate, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, false
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return nil, false
	}
	return info.State.VerifiedChains[0][0], true
}

// IdentityOf returns whom a certificate names. It does not verify the certificate.
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	for _, uri := range cert.URIs {
		name := strings.TrimPrefix(uri.Path, "/")
		if uri.Scheme != uriScheme || name == "" || strings.Contains(name, "/") {
			continue
		}
		switch role := Role(uri.Host); role {
		case RoleCluster, RoleUser:
			return Identity{Role: role, Name: name, Issued: credential.IssuedAt(cert)}, nil
		}
	}
	return Identity{}, fault.New(fault.Unauthorized, "client certificate %q has no URI tandem://cluster/<name> or tandem://user/<name>", cert.Subject.CommonName)
}

type identityKey struct{}

// Caller returns the identity that the server's interceptor found; false outside of a call.
func Caller(ctx context.Context) (Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(Identity)
	return id, ok
}

// WithCaller returns a context in which Caller finds id; for tests and interceptors.
func WithCaller(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// PeerPass returns the text of the pass that a call carries; false when it carries none.
func PeerPass(ctx context.Context) (string, bool) {
	headers, _ := metadata.FromIncomingContext(ctx)
	for _, value := range headers.Get(passHeader) {
		if pass, ok := strings.CutPrefix(value, passScheme); ok {
			return pass, true
		}
	}
	return "", false
}
