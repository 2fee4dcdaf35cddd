package authority

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"regexp"
	"time"

	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// namePattern is what a cluster or a user may be called; pipelines have the same rule.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckName returns an Invalid fault for what cannot be the name of a cluster or a user.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fault.New(fault.Invalid, "%q is not a name: want 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit", name)
	}
	return nil
}

// Create makes a new authority that is valid for life, and returns its certificate and key in PEM.
func Create(now time.Time, life time.Duration) (certPEM, keyPEM []byte, err error) {
	key, err := credential.NewKey()
	if err != nil {
		return nil, nil, err
	}
	hash, err := credential.HashKey(key.Public())
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: credential.NewSerial(now), Subject: pkix.Name{CommonName: "Tandem authority " + hash.String()},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(life), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, err := sign(template, ca{cert: template, key: key}, key.Public())
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err = credential.EncodeKey(key)
	return credential.EncodeCertificates(cert), keyPEM, err
}

// IssueUser makes a key and a certificate for a person, signed by the first authority of a bundle in PEM.
func IssueUser(caCertPEM, caKeyPEM []byte, name string, now time.Time, life time.Duration) (certPEM, keyPEM []byte, err error) {
	if err := CheckName(name); err != nil {
		return nil, nil, err
	}
	b, err := parseBundle(caCertPEM, caKeyPEM, now)
	if err != nil {
		return nil, nil, err
	}
	if life <= 0 {
		return nil, nil, errors.New("the life of a certificate must be more than 0")
	}
	key, err := credential.NewKey()
	if err != nil {
		return nil, nil, err
	}
	cert, err := issue(b.active(), &key.PublicKey, rpc.Identity{Role: rpc.RoleUser, Name: name}, now, life)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err = credential.EncodeKey(key)
	return credential.EncodeCertificates(cert), keyPEM, err
}

// Rotate puts a new authority before those of a bundle in PEM, which stay trusted, and returns the new bundle.
func Rotate(oldCertPEM, oldKeyPEM []byte, now time.Time, life time.Duration) (certPEM, keyPEM []byte, err error) {
	if _, err := parseBundle(oldCertPEM, oldKeyPEM, now); err != nil {
		return nil, nil, err
	}
	certPEM, keyPEM, err = Create(now, life)
	if err != nil {
		return nil, nil, err
	}
	certPEM, keyPEM = append(certPEM, oldCertPEM...), append(keyPEM, oldKeyPEM...)
	if _, err := parseBundle(certPEM, keyPEM, now); err != nil {
		return nil, nil, fault.New(fault.Invalid, "the rotated bundle would not be usable: %w", err)
	}
	return certPEM, keyPEM, nil
}
