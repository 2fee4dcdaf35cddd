package enroll

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// connectionGrace is how long a connection may outlive the certificate that it was opened with. Well-behaved ones are
// drained after about half an hour.
const connectionGrace = time.Hour

// Identify finds out who calls: by the certificate of the connection, or by the pass of the call where a proxy ends TLS.
func (s *Service) Identify(ctx context.Context) (rpc.Identity, error) {
	if cert, ok := rpc.PeerCertificate(ctx); ok {
		if late := time.Since(cert.NotAfter); late > connectionGrace {
			return rpc.Identity{}, fault.New(fault.Unauthorized, "the certificate of this connection expired %s ago; connect anew with its successor", late.Round(time.Second))
		}
		return rpc.IdentityOf(cert)
	}
	text, ok := rpc.PeerPass(ctx)
	if !ok {
		return rpc.Identity{}, fault.New(fault.Unauthorized, "no client certificate and no pass: connect with a certificate that the automator's CA signed; if a proxy ends TLS in between, configure the proxy on both sides")
	}
	return s.fromPass(ctx, text)
}

func (s *Service) fromPass(ctx context.Context, text string) (rpc.Identity, error) {
	if s.deps.Authority == nil || len(s.cfg.Audiences) == 0 {
		return rpc.Identity{}, fault.New(fault.Unauthorized, "this automator takes no passes; list the names that proxies serve it by under proxy.names in automator.yaml")
	}
	pass, err := credential.ParsePass(text)
	if err != nil {
		return rpc.Identity{}, err
	}
	now := time.Now()
	id, err := s.deps.Authority.Verify(pass.Certificate, now, 0)
	if err != nil {
		return rpc.Identity{}, err
	}
	method, _ := grpc.Method(ctx)
	if err := pass.Check(s.cfg.Audiences, method, now); err != nil {
		return rpc.Identity{}, err
	}
	return id, s.replays.use(id, pass.ID, now)
}

// Admit refuses what was issued before a revocation. It is asked for every call.
func (s *Service) Admit(id rpc.Identity) error {
	until, revoked := s.revoked.until(id)
	if !revoked || id.Issued.After(until) {
		return nil
	}
	return errRevoked(id)
}

func errRevoked(id rpc.Identity) error {
	if id.Role == rpc.RoleUser {
		return fault.New(fault.Unauthorized, "the certificates of %s were revoked; make a new one with `tandem ca user %s`", id, id.Name)
	}
	return fault.New(fault.Unauthorized, "the certificates of %s were revoked; enroll it again with a new token of `tandem cluster enroll %s --replace`", id, id.Name)
}

// refuse makes a revocation known at once and ends the open calls that it concerns. It returns how many there were.
func (s *Service) refuse(id rpc.Identity, until time.Time) int {
	s.revoked.put(string(id.Role), id.Name, until)
	return s.deps.Calls.End(func(open rpc.Identity) bool {
		return open.Role == id.Role && open.Name == id.Name && !open.Issued.After(until)
	}, errRevoked(id))
}

// revocations are those of the store, in memory, because every call asks.
type revocations struct {
	mu sync.RWMutex
	at map[[2]string]time.Time // by role and name
}

func newRevocations() *revocations { return &revocations{at: map[[2]string]time.Time{}} }

func (r *revocations) put(role, name string, until time.Time) {
	if until.IsZero() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := [2]string{role, name}; r.at[key].Before(until) {
		r.at[key] = until
	}
}

func (r *revocations) until(id rpc.Identity) (time.Time, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	at, ok := r.at[[2]string{string(id.Role), id.Name}]
	return at, ok
}

// after returns now, or the first moment after a revocation that a clock which was set back puts into the future.
func (r *revocations) after(id rpc.Identity, now time.Time) time.Time {
	now = now.Truncate(time.Microsecond) // as precise as a serial number
	if until, ok := r.until(id); ok && !now.After(until) {
		return until.Add(time.Microsecond)
	}
	return now
}
