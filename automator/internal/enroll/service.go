package enroll

import (
	"context"
	"crypto/ecdsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tandem-cd/tandem/automator/internal/authority"
	"github.com/tandem-cd/tandem/automator/internal/store"
	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/telemetry"
)

const (
	// repeatWithin is how long the request that redeemed a token may be repeated, so that a lost answer does no harm.
	repeatWithin = 10 * time.Minute
	// maxVersion bounds what a caller may say about its version, in bytes.
	maxVersion = 64
)

// Config is what the service is configured with.
type Config struct {
	// Audiences are the names of this automator that passes may be for; without any, passes do not count.
	Audiences []string
	// Admins are the names of users who may administer identities.
	Admins []string
}

// Deps is what the service works with.
type Deps struct {
	// Authority signs; nil when certificates come from elsewhere: then nobody can enroll or renew here.
	Authority *authority.Authority
	// Store keeps tokens, certificates and revocations.
	Store *store.Store
	// Calls are the open calls, to end those of who is revoked.
	Calls *rpc.Calls
	// Granted reports whether a cluster is granted anything; may be nil.
	Granted func(cluster string) bool
	// Log takes a line for every identity that is given, renewed, refused or revoked.
	Log *zap.Logger
}

// Service serves EnrollmentService and knows who calls.
type Service struct {
	enrollmentv1.UnimplementedEnrollmentServiceServer
	cfg     Config
	deps    Deps
	limits  *limits
	replays *replays
	revoked *revocations
}

// New returns a service that knows every revocation of the store.
func New(ctx context.Context, cfg Config, deps Deps) (*Service, error) {
	s := &Service{cfg: cfg, deps: deps, limits: newLimits(), replays: newReplays(), revoked: newRevocations()}
	if err := s.learn(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Run learns at once of whom other automators on the same store revoke, until the context is done.
func (s *Service) Run(ctx context.Context) error {
	changed, cancel := s.deps.Store.Subscribe(store.Revocations)
	defer cancel()
	for {
		if err := s.learn(ctx); err != nil && ctx.Err() == nil {
			s.deps.Log.Warn("revocations not read", zap.Error(err)) // the store wakes us again soon
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// learn makes every revocation of the store known here, and ends the calls of who is newly revoked.
func (s *Service) learn(ctx context.Context) error {
	all, err := s.deps.Store.Revocations(ctx)
	if err != nil {
		return err
	}
	for _, kept := range all {
		id := rpc.Identity{Role: rpc.Role(kept.Role), Name: kept.Name}
		if until, known := s.revoked.until(id); known && !until.Before(kept.Revoked) {
			continue
		}
		if ended := s.refuse(id, kept.Revoked); ended > 0 {
			s.deps.Log.Info("identity revoked by another automator", zap.Stringer("identity", id), zap.Int("calls_ended", ended))
		}
	}
	return nil
}

// Enroll redeems a token.
func (s *Service) Enroll(ctx context.Context, req *enrollmentv1.EnrollRequest) (*enrollmentv1.EnrollResponse, error) {
	if err := s.limits.stranger(ctx); err != nil {
		return nil, err
	}
	if err := s.needAuthority(); err != nil {
		return nil, err
	}
	token, err := credential.ParseToken(req.GetToken())
	if err != nil {
		return nil, err
	}
	key, err := credential.ParseRequest(req.GetCertificateRequest())
	if err != nil {
		return nil, err
	}
	kept, err := s.redeem(ctx, token, key)
	if err != nil {
		s.deps.Log.Warn("enrollment refused", zap.String(telemetry.Peer, peerHost(ctx)), zap.String(telemetry.Cluster, kept.Cluster), zap.Error(err))
		return nil, err
	}
	id := newcomer(kept)
	certificate, err := s.certify(ctx, key, id, req.GetVersion())
	if err != nil {
		return nil, err
	}
	s.deps.Log.Info("cluster enrolled", zap.String(telemetry.Cluster, id.Name), zap.String(telemetry.Peer, peerHost(ctx)),
		zap.Bool("replaced", kept.Replace), zap.String("token_of", kept.CreatedBy), zap.Time("renew_at", certificate.GetRenewAt().AsTime()))
	return &enrollmentv1.EnrollResponse{Cluster: id.Name, Certificate: certificate}, nil
}

// redeem uses up a token for a key.
func (s *Service) redeem(ctx context.Context, token credential.Token, key *ecdsa.PublicKey) (store.Token, error) {
	keyHash, err := credential.HashKey(key)
	if err != nil {
		return store.Token{}, fault.Wrap(fault.Invalid, err)
	}
	want := token.Hash()
	now := time.Now()
	kept, found, err := s.deps.Store.RedeemToken(ctx, hex.EncodeToString(want[:]), hexOf(keyHash), now, func(kept store.Token) error {
		return redeemable(kept, hexOf(keyHash), now)
	})
	if err != nil || !found {
		if !found && err == nil {
			err = fault.New(fault.Unauthorized, "nobody here made this token, or it was voided; make one with `tandem cluster enroll NAME`")
		}
		return kept, err
	}
	if !kept.Revoked.IsZero() {
		s.refuse(rpc.Identity{Role: rpc.RoleCluster, Name: kept.Cluster}, kept.Revoked)
	}
	return kept, nil
}

// newcomer is the cluster of a token that was redeemed. It has no certificate to succeed, and counts from the first moment
// that was not revoked then: a later revocation refuses it as it refuses a renewal.
func newcomer(redeemed store.Token) rpc.Identity {
	return rpc.Identity{Role: rpc.RoleCluster, Name: redeemed.Cluster, Issued: redeemed.Revoked.Add(time.Microsecond)}
}

// redeemable reports why a token cannot be redeemed for a key.
func redeemable(kept store.Token, key string, now time.Time) error {
	switch {
	case kept.Redeemed.IsZero() && now.After(kept.Expires):
		return fault.New(fault.Unauthorized, "the token of cluster %q expired at %s; make another with `tandem cluster enroll %s`", kept.Cluster, kept.Expires.Format(time.RFC3339), kept.Cluster)
	case kept.Redeemed.IsZero():
		return nil
	case subtle.ConstantTimeCompare([]byte(kept.Key), []byte(key)) != 1:
		return fault.New(fault.Unauthorized, "the token of cluster %q was redeemed at %s by somebody with another key; if that was not this cluster, revoke it with `tandem cluster revoke %s`, and make a new token", kept.Cluster, kept.Redeemed.Format(time.RFC3339), kept.Cluster)
	case now.Sub(kept.Redeemed) > repeatWithin:
		return fault.New(fault.Unauthorized, "the token of cluster %q was redeemed at %s and can be repeated for %s only; make another with `tandem cluster enroll %s --replace`", kept.Cluster, kept.Redeemed.Format(time.RFC3339), repeatWithin, kept.Cluster)
	default:
		return nil
	}
}

// Renew gives a successor to a certificate.
func (s *Service) Renew(ctx context.Context, req *enrollmentv1.RenewRequest) (*enrollmentv1.RenewResponse, error) {
	if err := s.needAuthority(); err != nil {
		return nil, err
	}
	present, err := s.presentCertificate(ctx, req.GetPresentCertificate())
	if err != nil {
		return nil, err
	}
	id, err := s.deps.Authority.Verify(present, time.Now(), authority.RenewWithin)
	if err != nil {
		return nil, err
	}
	key, err := credential.ParseRequest(req.GetCertificateRequest())
	if err != nil {
		return nil, err
	}
	if id.Role != rpc.RoleCluster {
		return nil, fault.New(fault.Unauthorized, "%s cannot renew here; make a new certificate with `tandem ca user %s`", id, id.Name)
	}
	if err := s.limits.renewal(id); err != nil {
		return nil, err
	}
	if own, ok := present.PublicKey.(*ecdsa.PublicKey); !ok || !own.Equal(key) {
		return nil, fault.New(fault.Unauthorized, "the request is for another key than the certificate's; a cluster that lost its key enrolls with a token of `tandem cluster enroll %s --replace`", id.Name)
	}
	if err := s.Admit(id); err != nil {
		s.deps.Log.Warn("renewal refused", zap.String(telemetry.Cluster, id.Name), zap.String(telemetry.Peer, peerHost(ctx)), zap.Error(err))
		return nil, err
	}
	certificate, err := s.certify(ctx, key, id, req.GetVersion())
	if err != nil {
		return nil, err
	}
	s.deps.Log.Info("certificate renewed", zap.String(telemetry.Cluster, id.Name), zap.String(telemetry.Peer, peerHost(ctx)), zap.Time("renew_at", certificate.GetRenewAt().AsTime()))
	return &enrollmentv1.RenewResponse{Certificate: certificate}, nil
}

// presentCertificate is the one that TLS verified, or the one in the request: who asks with that is a stranger until the
// authority's signature says otherwise.
func (s *Service) presentCertificate(ctx context.Context, der []byte) (*x509.Certificate, error) {
	if cert, ok := rpc.PeerCertificate(ctx); ok {
		return cert, nil
	}
	if err := s.limits.stranger(ctx); err != nil {
		return nil, err
	}
	if len(der) == 0 || len(der) > credential.MaxCertificate {
		return nil, fault.New(fault.Invalid, "the present certificate has %d bytes; want 1 to %d", len(der), credential.MaxCertificate)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the present certificate is no X.509 in DER: %w", err)
	}
	return cert, nil
}

func (s *Service) needAuthority() error {
	if s.deps.Authority == nil {
		return fault.New(fault.Stale, "this automator has no authority to sign certificates; give it one under authority in automator.yaml, or go on with certificates in files")
	}
	return nil
}

// certify issues the successor of an identity's certificate, or its first, and records it. Without the record it is not
// handed out: `tandem cluster list` shows all, and who was revoked meanwhile, at whatever replica, gets none.
func (s *Service) certify(ctx context.Context, key *ecdsa.PublicKey, id rpc.Identity, version string) (*enrollmentv1.Certificate, error) {
	issued := s.revoked.after(id, time.Now())
	cert, signer, err := s.deps.Authority.Issue(key, id, issued)
	if err != nil {
		return nil, err
	}
	err = s.deps.Store.PutCertificate(ctx, store.Identity{
		Role: string(id.Role), Name: id.Name, Serial: fmt.Sprintf("%x", cert.SerialNumber), Issued: issued, Expires: cert.NotAfter,
		Key: credential.HashOf(cert).String(), Authority: signer.String(), Version: version[:min(len(version), maxVersion)],
	}, id.Issued)
	if errors.Is(err, store.ErrRevoked) {
		return nil, errRevoked(id)
	}
	if err != nil {
		return nil, err
	}
	answer := &enrollmentv1.Certificate{Chain: [][]byte{cert.Raw}, RenewAt: timestamppb.New(credential.RenewAt(cert))}
	for _, known := range s.deps.Authority.Known() {
		answer.Ca = append(answer.Ca, known.Certificate.Raw)
	}
	return answer, nil
}

func hexOf(hash credential.KeyHash) string { return hex.EncodeToString(hash[:]) }
