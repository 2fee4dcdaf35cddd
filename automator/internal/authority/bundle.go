// Package authority signs clusters, people and the automator's own certificate, by keys in files that nothing else reads.
//
// While it rotates there is more than one: the first signs, the others are still trusted, and each whose key is there has
// signed the first, so that nobody who knows only an old one is cut off.
package authority

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/tandem-cd/tandem/shared/credential"
)

// ca is an authority that is trusted, with its key where that is given.
type ca struct {
	cert *x509.Certificate
	key  crypto.Signer // nil when it can no longer sign
	hash credential.KeyHash
}

// bundle is what the authority's files hold. The first signs; the others are still trusted.
type bundle struct {
	cas  []ca
	pool *x509.CertPool
	// chain is what follows a server's certificate: for everybody who knows one of the authorities whose key is there,
	// a way from the certificate to that one.
	chain []*x509.Certificate
}

// parseBundle reads certificates and keys in PEM. The first certificate needs its key; every key needs its certificate.
func parseBundle(certPEM, keyPEM []byte, now time.Time) (*bundle, error) {
	certs, err := credential.ParseCertificates(certPEM)
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	keys, err := credential.ParseKeys(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	byHash := map[credential.KeyHash]crypto.Signer{}
	for i, key := range keys {
		hash, err := credential.HashKey(key.Public())
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		byHash[hash] = key
	}
	b := &bundle{pool: x509.NewCertPool()}
	for i, cert := range certs {
		if !cert.IsCA || cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0 {
			return nil, fmt.Errorf("certificate %d (%s) may not sign others; make an authority with `tandem ca create`", i+1, cert.Subject)
		}
		hash := credential.HashOf(cert)
		b.cas = append(b.cas, ca{cert: cert, key: byHash[hash], hash: hash})
		b.pool.AddCert(cert)
		delete(byHash, hash)
	}
	switch {
	case b.cas[0].key == nil:
		return nil, fmt.Errorf("the key of the first certificate (%s) is missing: it is the one that signs", certs[0].Subject)
	case len(byHash) > 0:
		return nil, fmt.Errorf("%d keys belong to no certificate", len(byHash))
	case now.After(certs[0].NotAfter):
		return nil, fmt.Errorf("the first certificate (%s) expired at %s; rotate to a new one with `tandem ca rotate`", certs[0].Subject, certs[0].NotAfter.UTC().Format(time.RFC3339))
	}
	return b, b.cross(now)
}

func (b *bundle) active() ca { return b.cas[0] }

// cross makes the chain: the active authority, and for each other whose key is there the active one signed by it.
func (b *bundle) cross(now time.Time) error {
	active := b.active()
	b.chain = []*x509.Certificate{active.cert}
	for _, other := range b.cas[1:] {
		if other.key == nil || now.After(other.cert.NotAfter) {
			continue
		}
		template := *active.cert
		template.SerialNumber = credential.NewSerial(now)
		if other.cert.NotAfter.Before(template.NotAfter) {
			template.NotAfter = other.cert.NotAfter
		}
		cert, err := sign(&template, other, active.cert.PublicKey)
		if err != nil {
			return fmt.Errorf("sign %s by %s: %w", active.cert.Subject, other.cert.Subject, err)
		}
		b.chain = append(b.chain, cert, other.cert)
	}
	return nil
}

func sign(template *x509.Certificate, by ca, public crypto.PublicKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, public, by.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
