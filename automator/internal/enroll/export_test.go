package enroll

import (
	"context"
	"crypto/ecdsa"

	"github.com/tandem-cd/tandem/automator/internal/store"
	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/credential"
)

// Redeem is the first half of Enroll.
func (s *Service) Redeem(ctx context.Context, token credential.Token, key *ecdsa.PublicKey) (store.Token, error) {
	return s.redeem(ctx, token, key)
}

// Certify is the second half of Enroll.
func (s *Service) Certify(ctx context.Context, key *ecdsa.PublicKey, redeemed store.Token) (*enrollmentv1.Certificate, error) {
	return s.certify(ctx, key, newcomer(redeemed), "")
}
