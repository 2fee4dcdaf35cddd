package credential

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Limits of what is parsed.
const (
	// MaxCertificate bounds a certificate in DER, in bytes.
	MaxCertificate = 16 << 10
	// MaxRequest bounds a certificate request in DER, in bytes.
	MaxRequest = 16 << 10
	// MaxBundle bounds the certificates or keys of one file.
	MaxBundle = 16
)

// The types of PEM blocks.
const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
	pemECKey       = "EC PRIVATE KEY"
	pemRSAKey      = "RSA PRIVATE KEY"
)

// KeyHash names a public key: the SHA-256 of its SubjectPublicKeyInfo.
type KeyHash [sha256.Size]byte

// HashKey returns the name of a public key.
func HashKey(public crypto.PublicKey) (KeyHash, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return KeyHash{}, fmt.Errorf("hash public key: %w", err)
	}
	return sha256.Sum256(der), nil
}

// HashOf returns the name of a certificate's key.
func HashOf(cert *x509.Certificate) KeyHash { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// String returns the start of the hash, enough to tell keys apart by eye.
func (h KeyHash) String() string { return fmt.Sprintf("%x", h[:8]) }

// NewKey makes a key: ECDSA on P-256, which every TLS library and the passes know.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// EncodeKey returns a key in PEM.
func EncodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

// EncodeCertificates returns certificates in PEM, in their order.
func EncodeCertificates(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: cert.Raw})...)
	}
	return out
}

// ParseCertificates reads every certificate of a PEM file, 1 to MaxBundle.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	err := eachBlock(data, func(block *pem.Block) error {
		if block.Type != pemCertificate {
			return fmt.Errorf("holds a %q where certificates are expected", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		certs = append(certs, cert)
		return err
	})
	return certs, err
}

// ParseKeys reads every private key of a PEM file, 1 to MaxBundle.
func ParseKeys(data []byte) ([]crypto.Signer, error) {
	var keys []crypto.Signer
	err := eachBlock(data, func(block *pem.Block) error {
		key, err := parseKey(block)
		keys = append(keys, key)
		return err
	})
	return keys, err
}

// ParseKey reads a file with one P-256 key.
func ParseKey(data []byte) (*ecdsa.PrivateKey, error) {
	keys, err := ParseKeys(data)
	if err != nil {
		return nil, err
	}
	key, ok := keys[0].(*ecdsa.PrivateKey)
	if !ok || len(keys) != 1 || key.Curve != elliptic.P256() {
		return nil, errors.New("want exactly one ECDSA key on P-256")
	}
	return key, nil
}

func eachBlock(data []byte, do func(*pem.Block) error) error {
	count := 0
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if count++; count > MaxBundle {
			return fmt.Errorf("holds more than %d PEM blocks", MaxBundle)
		}
		if err := do(block); err != nil {
			return fmt.Errorf("PEM block %d: %w", count, err)
		}
	}
	if count == 0 {
		return errors.New("holds nothing in PEM")
	}
	return nil
}

func parseKey(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case pemKey:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case pemECKey:
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case pemRSAKey:
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a %q is no private key without a passphrase", block.Type)
	}
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	return signer, nil
}
