package enroll

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"

	"github.com/tandem-cd/tandem/shared/credential"
)

// Kept is what a vault holds of an identity. Its zero value is an empty vault.
type Kept struct {
	// Key is the cluster's private key; nil when there is none yet.
	Key *ecdsa.PrivateKey
	// Certificate is the newest one for the key; nil until a token was redeemed.
	Certificate *x509.Certificate
	// CA are the authorities to trust.
	CA []*x509.Certificate
	// Token is the hash of the token that the key was made for, in hexadecimal.
	Token string
	// Version tells one state of the vault from the next.
	Version string
}

// Vault keeps an identity where this cluster's administrator alone can read it.
type Vault interface {
	// Load returns what is kept.
	Load(ctx context.Context) (Kept, error)
	// Save replaces what is kept, if it is still what Load returned as Version; otherwise it returns a Conflict fault.
	Save(ctx context.Context, kept Kept) error
	// String says where it is, for people.
	String() string
}

// The names of what is kept, in a Secret and in a folder.
const (
	keyName         = "tls.key"
	certificateName = "tls.crt"
	caName          = "ca.crt"
	tokenName       = "token-hash"
)

// encode returns what is kept as files.
func (k Kept) encode() (map[string][]byte, error) {
	files := map[string][]byte{tokenName: []byte(k.Token)}
	if k.Key != nil {
		key, err := credential.EncodeKey(k.Key)
		if err != nil {
			return nil, err
		}
		files[keyName] = key
	}
	if k.Certificate != nil {
		files[certificateName] = credential.EncodeCertificates(k.Certificate)
		files[caName] = credential.EncodeCertificates(k.CA...)
	}
	return files, nil
}

// decode reads what is kept. A certificate that is for another key than the one that is kept counts as none.
func decode(files map[string][]byte) (kept Kept, err error) {
	kept.Token = string(files[tokenName])
	if len(files[keyName]) == 0 {
		return kept, nil
	}
	if kept.Key, err = credential.ParseKey(files[keyName]); err != nil {
		return Kept{}, fmt.Errorf("%s: %w", keyName, err)
	}
	if len(files[certificateName]) == 0 {
		return kept, nil
	}
	chain, err := credential.ParseCertificates(files[certificateName])
	if err != nil {
		return Kept{}, fmt.Errorf("%s: %w", certificateName, err)
	}
	cas, err := credential.ParseCertificates(files[caName])
	if err != nil {
		return Kept{}, fmt.Errorf("%s: %w", caName, err)
	}
	if kept.Key.PublicKey.Equal(chain[0].PublicKey) {
		kept.Certificate, kept.CA = chain[0], cas
	}
	return kept, nil
}
