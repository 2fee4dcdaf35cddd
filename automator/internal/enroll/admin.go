package enroll

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tandem-cd/tandem/automator/internal/authority"
	"github.com/tandem-cd/tandem/automator/internal/store"
	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// How long tokens can be redeemed.
const (
	defaultTokenLife = time.Hour
	maxTokenLife     = 7 * 24 * time.Hour
)

// Admin serves EnrollmentAdminService. Who may call it is decided by AdmitAdmin.
type Admin struct {
	enrollmentv1.UnimplementedEnrollmentAdminServiceServer
	service *Service
	backups backups
}

// NewAdmin returns the administration of a service.
func NewAdmin(service *Service) *Admin { return &Admin{service: service} }

// AdmitAdmin refuses everybody whom the configuration does not name.
func (s *Service) AdmitAdmin(id rpc.Identity) error {
	if id.Role == rpc.RoleUser && slices.Contains(s.cfg.Admins, id.Name) {
		return nil
	}
	if id.Role != rpc.RoleUser {
		return fault.New(fault.Unauthorized, "%s is not a user; only users administer identities", id)
	}
	return fault.New(fault.Unauthorized, "%s may not administer identities; add %q to admins in automator.yaml if it should", id, id.Name)
}

// CreateToken makes a token.
func (a *Admin) CreateToken(ctx context.Context, req *enrollmentv1.CreateTokenRequest) (*enrollmentv1.CreateTokenResponse, error) {
	s, name := a.service, req.GetCluster()
	if err := s.needAuthority(); err != nil {
		return nil, err
	}
	if err := authority.CheckName(name); err != nil {
		return nil, err
	}
	life, err := tokenLife(req.GetTtlSeconds())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	known, _, err := s.deps.Store.Identity(ctx, string(rpc.RoleCluster), name)
	if err != nil {
		return nil, err
	}
	if state := stateOf(known, now); !req.GetReplace() && (state == enrolled || state == lapsed) {
		return nil, fault.New(fault.Conflict, "cluster %q is enrolled: its certificate is from %s; give --replace if it has lost its key, which revokes that certificate once the new token is redeemed", name, known.Issued.Format(time.RFC3339))
	}
	token := credential.NewToken(s.deps.Authority.Pin())
	hash, by := token.Hash(), callerName(ctx)
	kept := store.Token{
		Hash: hex.EncodeToString(hash[:]), Cluster: name, Created: now, Expires: now.Add(life), Replace: req.GetReplace(), CreatedBy: by,
	}
	if err := s.deps.Store.PutToken(ctx, kept); err != nil {
		return nil, err
	}
	s.deps.Log.Info("token made", zap.String("cluster", name), zap.String("by", by), zap.Bool("replace", kept.Replace), zap.Time("expires", kept.Expires))
	return &enrollmentv1.CreateTokenResponse{
		Token: token.String(), Expires: timestamppb.New(kept.Expires), Granted: s.deps.Granted != nil && s.deps.Granted(name),
	}, nil
}

func tokenLife(seconds int64) (time.Duration, error) {
	if seconds == 0 {
		return defaultTokenLife, nil
	}
	if seconds < 0 || seconds > int64(maxTokenLife/time.Second) {
		return 0, fault.New(fault.Invalid, "a token cannot be good for %d seconds; want more than 0 and at most %s", seconds, maxTokenLife)
	}
	return time.Duration(seconds) * time.Second, nil
}

func callerName(ctx context.Context) string {
	id, _ := rpc.Caller(ctx)
	return id.String()
}

// The states, by their short names.
const (
	pending  = enrollmentv1.IdentityState_IDENTITY_STATE_PENDING
	enrolled = enrollmentv1.IdentityState_IDENTITY_STATE_ENROLLED
	lapsed   = enrollmentv1.IdentityState_IDENTITY_STATE_LAPSED
	expired  = enrollmentv1.IdentityState_IDENTITY_STATE_EXPIRED
	revoked  = enrollmentv1.IdentityState_IDENTITY_STATE_REVOKED
)

// stateOf says how an identity stands.
func stateOf(id store.Identity, now time.Time) enrollmentv1.IdentityState {
	open := now.Before(id.TokenExpires)
	switch {
	case !id.Revoked.IsZero() && !id.Issued.After(id.Revoked) && open:
		return pending
	case !id.Revoked.IsZero() && !id.Issued.After(id.Revoked):
		return revoked
	case id.Serial == "" && open:
		return pending
	case id.Serial == "":
		return expired
	case !now.After(id.Expires):
		return enrolled
	case now.Sub(id.Expires) <= authority.RenewWithin:
		return lapsed
	default:
		return expired
	}
}

// ListIdentities lists clusters, and users who were revoked.
func (a *Admin) ListIdentities(ctx context.Context, req *enrollmentv1.ListIdentitiesRequest) (*enrollmentv1.ListIdentitiesResponse, error) {
	size, err := fleet.PageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	all, err := a.service.deps.Store.Identities(ctx)
	if err != nil {
		return nil, err
	}
	name := func(id store.Identity) string { return id.Role + "/" + id.Name }
	slices.SortFunc(all, func(x, y store.Identity) int { return cmp.Compare(name(x), name(y)) })
	page, next, err := fleet.Page(all, name, size, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp := &enrollmentv1.ListIdentitiesResponse{NextPageToken: next}
	now := time.Now()
	for _, id := range page {
		resp.Identities = append(resp.Identities, &enrollmentv1.EnrolledIdentity{
			Role: roleToProto(id.Role), Name: id.Name, State: stateOf(id, now), Issued: stamped(id.Issued), Expires: stamped(id.Expires),
			Serial: id.Serial, Key: id.Key, Authority: id.Authority, Revoked: stamped(id.Revoked), TokenExpires: stamped(id.TokenExpires), Version: id.Version,
		})
	}
	return resp, nil
}

func roleToProto(role string) enrollmentv1.Role {
	if role == string(rpc.RoleUser) {
		return enrollmentv1.Role_ROLE_USER
	}
	return enrollmentv1.Role_ROLE_CLUSTER
}

func stamped(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// Revoke refuses somebody from now on.
func (a *Admin) Revoke(ctx context.Context, req *enrollmentv1.RevokeRequest) (*enrollmentv1.RevokeResponse, error) {
	id := rpc.Identity{Role: rpc.RoleCluster, Name: req.GetName()}
	if req.GetRole() == enrollmentv1.Role_ROLE_USER {
		id.Role = rpc.RoleUser
	}
	if err := authority.CheckName(id.Name); err != nil {
		return nil, err
	}
	// First for good, then at once: a revocation that was answered survives a crash.
	until, err := a.service.deps.Store.Revoke(ctx, string(id.Role), id.Name, time.Now())
	if err != nil {
		return nil, err
	}
	ended := a.service.refuse(id, until)
	a.service.deps.Log.Info("identity revoked", zap.Stringer("identity", id), zap.String("by", callerName(ctx)), zap.Int("calls_ended", ended))
	return &enrollmentv1.RevokeResponse{Revoked: timestamppb.New(until), CallsEnded: int32(ended)}, nil
}

// maxNames bounds the clusters that GetAuthority names for each authority.
const maxNames = 20

// GetAuthority tells who depends on which authority.
func (a *Admin) GetAuthority(ctx context.Context, _ *enrollmentv1.GetAuthorityRequest) (*enrollmentv1.GetAuthorityResponse, error) {
	if err := a.service.needAuthority(); err != nil {
		return nil, err
	}
	all, err := a.service.deps.Store.Identities(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	holders := map[string][]string{}
	for _, id := range all {
		if state := stateOf(id, now); id.Role == string(rpc.RoleCluster) && (state == enrolled || state == lapsed) {
			holders[id.Authority] = append(holders[id.Authority], id.Name)
		}
	}
	resp := &enrollmentv1.GetAuthorityResponse{}
	for i, one := range a.service.deps.Authority.Known() {
		names := holders[one.Hash.String()]
		slices.Sort(names)
		resp.Authorities = append(resp.Authorities, &enrollmentv1.TrustedAuthority{
			Key: one.Hash.String(), Subject: one.Certificate.Subject.String(), Expires: timestamppb.New(one.Certificate.NotAfter),
			Active: i == 0, Serves: one.Serves, Clusters: int32(len(names)), Names: names[:min(len(names), maxNames)],
		})
	}
	if problem := a.service.deps.Authority.Problem(); problem != nil {
		resp.Problem = fmt.Sprintf("%v; what was read before goes on", problem)
	}
	return resp, nil
}
