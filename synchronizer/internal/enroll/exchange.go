package enroll

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/redact"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// Automator is how to reach the automator.
type Automator struct {
	// Address is host:port.
	Address string
	// ServerName is the name in the certificate; the address's host when empty.
	ServerName string
	// Proxied says that a proxy ends TLS: calls carry passes, and the proxy is trusted as ProxyCA says.
	Proxied bool
	// ProxyCA is a file with the CA that signed the proxy's certificate; the system's CAs when empty.
	ProxyCA string
}

func (a Automator) name() string {
	if a.ServerName != "" {
		return a.ServerName
	}
	host, _, err := net.SplitHostPort(a.Address)
	if err != nil {
		return a.Address
	}
	return host
}

// Dial returns a connection that shows this cluster's identity, the newest one for every handshake or call.
func (k *Keeper) Dial() (*grpc.ClientConn, error) {
	return k.dial(k.known, grpc.WithStatsHandler((*refusals)(k)))
}

func (k *Keeper) dial(roots rpc.Roots, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	to := k.cfg.Automator
	if to.Proxied {
		passes := rpc.Passes{Audience: to.name(), Sign: k.signer}
		return rpc.Dial(to.Address, rpc.ClientTLS(to.name(), proxyRoots(to.ProxyCA), nil), append(options, grpc.WithPerRPCCredentials(passes))...)
	}
	tlsConfig := rpc.ClientTLS(to.name(), roots, k.certificate)
	verify := tlsConfig.VerifyConnection
	tlsConfig.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verify(state); err != nil {
			return err
		}
		k.compare(state.PeerCertificates)
		return nil
	}
	return rpc.Dial(to.Address, tlsConfig, options...)
}

// known trusts the authorities that are kept.
func (k *Keeper) known([]*x509.Certificate) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, cert := range k.present().CA {
		pool.AddCert(cert)
	}
	return pool, nil
}

// proxyRoots trusts a file, or the system's CAs.
func proxyRoots(file string) rpc.Roots {
	return func([]*x509.Certificate) (*x509.CertPool, error) {
		if file == "" {
			return x509.SystemCertPool()
		}
		text, err := config.ReadSecret(file)
		if err != nil {
			return nil, fmt.Errorf("automator.proxy.caFile: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(text)) {
			return nil, fmt.Errorf("automator.proxy.caFile: %s holds no certificate in PEM", file)
		}
		return pool, nil
	}
}

// certificate is what handshakes show; nothing when there is none that counts.
func (k *Keeper) certificate() *tls.Certificate {
	kept := k.present()
	if kept.Certificate == nil || time.Now().After(kept.Certificate.NotAfter) {
		return nil
	}
	return &tls.Certificate{Certificate: [][]byte{kept.Certificate.Raw}, PrivateKey: kept.Key, Leaf: kept.Certificate}
}

func (k *Keeper) signer() (*ecdsa.PrivateKey, *x509.Certificate) {
	kept := k.present()
	if kept.Certificate == nil || time.Now().After(kept.Certificate.NotAfter) {
		return nil, nil
	}
	return kept.Key, kept.Certificate
}

// compare asks for a renewal when a server that is trusted shows an authority that is not known here yet.
func (k *Keeper) compare(shown []*x509.Certificate) {
	kept := k.present()
	if kept.Certificate == nil {
		return
	}
	for _, cert := range shown[1:] {
		known := slices.ContainsFunc(kept.CA, func(ca *x509.Certificate) bool { return credential.HashOf(ca) == credential.HashOf(cert) })
		if cert.IsCA && !known {
			poke(k.stale)
			return
		}
	}
}

func poke(flag chan struct{}) {
	select {
	case flag <- struct{}{}:
	default:
	}
}

// refusals watches the calls of a connection: one that is refused may mean that this identity was revoked.
type refusals Keeper

// TagRPC keeps the context.
func (r *refusals) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC looks at how calls end.
func (r *refusals) HandleRPC(_ context.Context, s stats.RPCStats) {
	if end, ok := s.(*stats.End); ok && fault.Is(end.Error, fault.Unauthorized) {
		poke(r.doubt)
	}
}

// TagConn keeps the context.
func (r *refusals) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn ignores connections.
func (r *refusals) HandleConn(context.Context, stats.ConnStats) {}

// enroll redeems the token for a certificate. The key is kept first.
func (k *Keeper) enroll(ctx context.Context, kept Kept) error {
	token, err := k.token()
	if err != nil {
		return err
	}
	if kept, err = k.prepare(ctx, kept, token); err != nil {
		return err
	}
	request, err := credential.NewRequest(kept.Key)
	if err != nil {
		return err
	}
	conn, err := k.dial(rpc.Pinned(token.CA))
	if err != nil {
		return err
	}
	defer conn.Close()
	resp, err := enrollmentv1.NewEnrollmentServiceClient(conn).Enroll(ctx, &enrollmentv1.EnrollRequest{
		Token: token.String(), CertificateRequest: request, Version: k.cfg.Version,
	})
	if err != nil {
		return fmt.Errorf("enroll at %s: %w", k.cfg.Automator.Address, withoutToken(err, token))
	}
	if kept, err = k.accept(kept, resp.GetCertificate()); err != nil {
		return err
	}
	if !slices.ContainsFunc(kept.CA, func(ca *x509.Certificate) bool { return credential.HashOf(ca) == token.CA }) {
		return fault.New(fault.Unauthorized, "the answer does not come from the authority that the token names (key %s)", token.CA)
	}
	if err := k.keep(ctx, kept); err != nil {
		return err
	}
	k.deps.Log.Info("enrolled", zap.String("cluster", resp.GetCluster()), zap.Stringer("kept_in", k.deps.Vault), zap.Time("expires", kept.Certificate.NotAfter))
	k.redial()
	return nil
}

// withoutToken returns what came of sending a token, without the token: a proxy in between may repeat what it was sent.
func withoutToken(err error, token credential.Token) error {
	secrets := redact.New()
	secrets.Add(token.String())
	return fault.New(fault.KindOf(err), "%s", secrets.Text(err.Error()))
}

// prepare returns a key for a token, kept.
func (k *Keeper) prepare(ctx context.Context, kept Kept, token credential.Token) (Kept, error) {
	if kept.Key != nil && kept.Token == tokenHash(token) {
		return kept, nil
	}
	key, err := credential.NewKey()
	if err != nil {
		return Kept{}, err
	}
	if err := k.deps.Vault.Save(ctx, Kept{Key: key, Token: tokenHash(token), Version: kept.Version}); err != nil && !fault.Is(err, fault.Conflict) {
		return Kept{}, err
	}
	// After a conflict another replica's key counts.
	if kept, err = k.deps.Vault.Load(ctx); err != nil {
		return Kept{}, err
	}
	if kept.Key == nil || kept.Token != tokenHash(token) {
		return Kept{}, fault.New(fault.Conflict, "%s was changed by somebody else while a key was made; it is tried again", k.deps.Vault)
	}
	return kept, nil
}

// renew exchanges the certificate for its successor on the connection that is open.
func (k *Keeper) renew(ctx context.Context, kept Kept) error {
	request, err := credential.NewRequest(kept.Key)
	if err != nil {
		return err
	}
	conn, err := k.deps.Conn()
	if err != nil {
		return err
	}
	lapsed := time.Now().After(kept.Certificate.NotAfter)
	resp, err := enrollmentv1.NewEnrollmentServiceClient(conn).Renew(ctx, &enrollmentv1.RenewRequest{
		CertificateRequest: request, PresentCertificate: kept.Certificate.Raw, Version: k.cfg.Version,
	})
	if err != nil {
		return fmt.Errorf("renew at %s: %w", k.cfg.Automator.Address, err)
	}
	if kept, err = k.accept(kept, resp.GetCertificate()); err != nil {
		return err
	}
	if err := k.keep(ctx, kept); err != nil {
		return err
	}
	k.deps.Log.Info("certificate renewed", zap.Time("expires", kept.Certificate.NotAfter))
	if lapsed {
		k.redial() // the connection that is open shows no certificate
	}
	return nil
}

// redial makes new calls use a new connection; those that are open go on for a while.
func (k *Keeper) redial() {
	if conn, err := k.deps.Conn(); err == nil {
		k.deps.Anew(conn)
	}
}

// accept checks an answer and puts it into what is kept.
func (k *Keeper) accept(kept Kept, answer *enrollmentv1.Certificate) (Kept, error) {
	if len(answer.GetChain()) == 0 || len(answer.GetCa()) == 0 || len(answer.GetCa()) > credential.MaxBundle {
		return Kept{}, errors.New("the automator's answer holds no certificate and authority")
	}
	cert, err := x509.ParseCertificate(answer.GetChain()[0])
	if err != nil {
		return Kept{}, fmt.Errorf("the automator's answer: %w", err)
	}
	kept.CA = nil
	pool := x509.NewCertPool()
	for _, der := range answer.GetCa() {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return Kept{}, fmt.Errorf("the automator's answer: authority: %w", err)
		}
		kept.CA = append(kept.CA, ca)
		pool.AddCert(ca)
	}
	id, err := rpc.IdentityOf(cert)
	if err != nil {
		return Kept{}, err
	}
	if !kept.Key.PublicKey.Equal(cert.PublicKey) {
		return Kept{}, errors.New("the automator's answer is for another key than ours")
	}
	if id.Role != rpc.RoleCluster || id.Name != k.cfg.Cluster {
		return Kept{}, fmt.Errorf("the automator knows this as %s, but the configuration calls it cluster %q; make them equal: either change cluster, or take a token of `tandem cluster enroll %s`", id, k.cfg.Cluster, k.cfg.Cluster)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: cert.NotAfter.Add(-time.Second), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return Kept{}, fmt.Errorf("the automator's answer does not fit together: %w", err)
	}
	kept.Certificate = cert
	return kept, nil
}

// keep saves and uses an identity. When another replica saved one meanwhile, that one is used.
func (k *Keeper) keep(ctx context.Context, kept Kept) error {
	if err := k.deps.Vault.Save(ctx, kept); err != nil && !fault.Is(err, fault.Conflict) {
		return err
	}
	kept, err := k.deps.Vault.Load(ctx)
	if err != nil {
		return err
	}
	k.adopt(kept)
	if kept.Certificate == nil {
		return fault.New(fault.Conflict, "%s was changed by somebody else; it is tried again", k.deps.Vault)
	}
	return nil
}
