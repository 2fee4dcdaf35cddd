package credential

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	"github.com/tandem-cd/tandem/shared/fault"
)

// NewRequest returns a certificate request in DER, signed by key. It names nobody: who the certificate is for is decided
// by who signs it.
func NewRequest(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return der, nil
}

// ParseRequest checks a certificate request and returns its key. Nothing else of the request counts: names and
// extensions in it are ignored. Every failure is an Invalid fault.
func ParseRequest(der []byte) (*ecdsa.PublicKey, error) {
	if len(der) == 0 || len(der) > MaxRequest {
		return nil, fault.New(fault.Invalid, "the certificate request has %d bytes; want 1 to %d", len(der), MaxRequest)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the certificate request is no PKCS #10 in DER: %w", err)
	}
	key, ok := request.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fault.New(fault.Invalid, "the certificate request is for a key of another kind than ECDSA on P-256")
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fault.New(fault.Invalid, "the certificate request is not signed by its own key: %w", err)
	}
	return key, nil
}
