package enroll_test

import (
	"bytes"
	"context"
	"sync"
	"testing"

	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/internal/enroll"
)

// secret is a vault in memory that compares versions as the API server does.
type secret struct {
	mu   sync.Mutex
	kept enroll.Kept
}

func (s *secret) Load(context.Context) (enroll.Kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept, nil
}

func (s *secret) Save(_ context.Context, kept enroll.Kept) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept.Version != s.kept.Version {
		return fault.New(fault.Conflict, "changed")
	}
	s.kept = kept
	s.kept.Version += "+"
	return nil
}

func (s *secret) String() string { return "memory" }

// together is a vault whose first look waits for that of the other replica, so that both find it empty.
type together struct {
	*secret

	once sync.Once
	both *sync.WaitGroup
}

func (v *together) Load(ctx context.Context) (enroll.Kept, error) {
	kept, err := v.secret.Load(ctx)
	v.once.Do(func() { v.both.Done(); v.both.Wait() })
	return kept, err
}

// TestTwoReplicasThatStartAtOnceEnrollAsOne has two replicas with one token find no identity; the automator, as the true one
// does, takes the token from one key only.
func TestTwoReplicasThatStartAtOnceEnrollAsOne(t *testing.T) {
	t.Parallel()
	a := newAutomator(t)
	var mu sync.Mutex
	var redeemed []byte
	a.onEnroll = func(req *enrollmentv1.EnrollRequest) (*enrollmentv1.Certificate, error) {
		key, err := credential.ParseRequest(req.GetCertificateRequest())
		if err != nil {
			return nil, err
		}
		raw, err := key.Bytes()
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		if redeemed != nil && !bytes.Equal(redeemed, raw) {
			return nil, fault.New(fault.Unauthorized, "redeemed with another key")
		}
		redeemed = raw
		return a.sign(req.GetCertificateRequest()), nil
	}
	vault, token := &secret{}, a.token()
	var both sync.WaitGroup
	both.Add(2)
	replicas := []*member{a.member(&together{secret: vault, both: &both}), a.member(&together{secret: vault, both: &both})}
	for _, m := range replicas {
		m.give(token)
		m.run()
	}
	for _, m := range replicas {
		m.waits("enrolled", func() bool { return m.Problem() == nil })
	}
	kept, err := vault.Load(t.Context())
	if err != nil || kept.Certificate == nil {
		t.Fatalf("kept: %+v, %v", kept, err)
	}
	for _, m := range replicas {
		if own, _ := m.Certificates(); own == nil || !kept.Key.PublicKey.Equal(own.PublicKey) {
			t.Error("a replica shows another key than the one that is kept")
		}
	}
}
