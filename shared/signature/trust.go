package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// Trust is what rules name and do not have themselves.
type Trust struct {
	// Keys are public keys in PEM, by name.
	Keys map[string][]byte
	// Root is a Sigstore trusted root, as trusted_root.json has it: certificate authorities, transparency logs and
	// timestamp authorities. Rules of identities need it.
	Root []byte
	// KeysAt and RootAt say where keys and root are configured, for messages.
	KeysAt, RootAt string
}

// Verifier checks images by rules and what is trusted.
type Verifier struct {
	rules []boundRule
	id    string
}

// boundRule is a rule with its signers.
type boundRule struct {
	Rule

	signers []signer
}

// signer is one who may have signed, and how that is verified.
type signer struct {
	name     string
	verifier *verify.Verifier
	policy   verify.PolicyOption
	key      bool
	log      bool
	pure     bool // Ed25519 without a hash: it signs bytes, of which a digest says nothing
}

// With returns what checks images by the rules; an error says which key or root is missing or cannot be used.
func (rs Rules) With(t Trust) (*Verifier, error) {
	v := &Verifier{}
	sum := sha256.New()
	fmt.Fprintf(sum, "%d %s", idVersion, rs.ID())
	var trusted *root.TrustedRoot
	if rs.needRoot() {
		var err error
		if trusted, err = parseRoot(t); err != nil {
			return nil, err
		}
		fmt.Fprintf(sum, " %d ", len(t.Root))
		sum.Write(t.Root)
	}
	for _, r := range rs {
		bound := boundRule{Rule: r}
		for _, key := range r.config.Keys {
			text := []byte(key)
			if !strings.HasPrefix(key, pemStart) {
				if text = t.Keys[key]; text == nil {
					return nil, fmt.Errorf("key %q is not in %s", key, t.KeysAt)
				}
			}
			fmt.Fprintf(sum, " %d ", len(text))
			sum.Write(text)
			signers, err := keySigners(keyText(key), text, r.config.Log, trusted)
			if err != nil {
				return nil, err
			}
			bound.signers = append(bound.signers, signers...)
		}
		for i, identity := range r.identities {
			s, err := identitySigner(r.config.Identities[i].String(), identity, trusted)
			if err != nil {
				return nil, err
			}
			bound.signers = append(bound.signers, s)
		}
		v.rules = append(v.rules, bound)
	}
	v.id = hex.EncodeToString(sum.Sum(nil))
	return v, nil
}

// idVersion changes when this package decides otherwise than before, so that no verdict of an older one counts.
const idVersion = 2

// ID is the hash of the rules and of everything that they trust. A verdict holds for as long as it stays the same.
func (v *Verifier) ID() string { return v.id }

func (rs Rules) needRoot() bool {
	for _, r := range rs {
		if r.config.Log || len(r.identities) > 0 {
			return true
		}
	}
	return false
}

// parseRoot reads a trusted root that can be worked with.
func parseRoot(t Trust) (*root.TrustedRoot, error) {
	if len(t.Root) == 0 {
		return nil, fmt.Errorf("there is no trusted root: set %s", t.RootAt)
	}
	trusted, err := root.NewTrustedRootFromJSON(t.Root)
	if err != nil {
		return nil, fmt.Errorf("the trusted root cannot be read: %w", err)
	}
	return trusted, nil
}

// keyText names a key: one in PEM by a part of its hash.
func keyText(key string) string {
	if !strings.HasPrefix(key, pemStart) {
		return "key " + key
	}
	sum := sha256.Sum256([]byte(key))
	return "key " + hex.EncodeToString(sum[:6])
}

// parseKey reads a public key in PEM.
func parseKey(text []byte) (crypto.PublicKey, error) {
	if len(text) > MaxKey {
		return nil, fmt.Errorf("a key of %d bytes is longer than %d", len(text), MaxKey)
	}
	block, rest := pem.Decode(text)
	switch {
	case block == nil || block.Type != "PUBLIC KEY":
		return nil, errors.New("not a public key in PEM: cosign.pub, or what `cosign public-key` prints, begins with -----BEGIN PUBLIC KEY-----")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("something follows the public key; give each key by itself")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("not a public key: %w", err)
	}
	switch key := key.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("an RSA key of %d bits is not between %d and %d", bits, minRSA, maxRSA)
		}
	default:
		return nil, fmt.Errorf("a key of type %T is not one of ECDSA, Ed25519 and RSA", key)
	}
	return key, nil
}

// What an RSA key may have, in bits: less is forgeable, more costs time.
const (
	minRSA = 2048
	maxRSA = 8192
)

// keySigners returns a key in each of the ways that cosign has signed with it: one, but for keys that go with several hashes.
func keySigners(name string, text []byte, log bool, trusted *root.TrustedRoot) ([]signer, error) {
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	verifiers, err := keyVerifiers(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	choices := []verify.VerifierOption{verify.WithNoObserverTimestamps(), verify.WithoutStatementPredicate()}
	if log {
		if len(trusted.RekorLogs()) == 0 {
			return nil, fmt.Errorf("%s: its rule says log, and the trusted root has no transparency log", name)
		}
		choices = append(choices, verify.WithTransparencyLog(1))
	}
	signers := make([]signer, 0, len(verifiers))
	for _, verifier := range verifiers {
		always := root.NewExpiringKey(verifier, time.Time{}, time.Time{})
		material := root.TrustedMaterialCollection{root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return always, nil })}
		if log {
			material = append(material, trusted)
		}
		v, err := verify.NewVerifier(material, choices...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		_, pure := verifier.(*signature.ED25519Verifier)
		signers = append(signers, signer{name: name, verifier: v, policy: verify.WithKey(), key: true, log: log, pure: pure})
	}
	return signers, nil
}

// keyVerifiers returns the ways in which a key may have signed: cosign took SHA-256 with every key at first, and the hash
// that belongs to the key later; of Ed25519 it knows both forms.
func keyVerifiers(key crypto.PublicKey) ([]signature.Verifier, error) {
	first, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	second, err := signature.LoadDefaultVerifier(key, options.WithED25519ph())
	if err != nil {
		return nil, err
	}
	if curve, ok := key.(*ecdsa.PublicKey); ok && curve.Params().BitSize == 256 {
		return []signature.Verifier{first}, nil // both are the same
	}
	return []signature.Verifier{first, second}, nil
}

// identitySigner returns an identity, which everything vouches for that the trusted root has.
func identitySigner(name string, identity verify.CertificateIdentity, trusted *root.TrustedRoot) (signer, error) {
	choices := []verify.VerifierOption{verify.WithoutStatementPredicate()}
	switch {
	case len(trusted.FulcioCertificateAuthorities()) == 0:
		return signer{}, errors.New("the trusted root has no certificate authority")
	case len(trusted.RekorLogs()) > 0:
		choices = append(choices, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
	case len(trusted.TimestampingAuthorities()) > 0:
		choices = append(choices, verify.WithSignedTimestamps(1))
	default:
		return signer{}, errors.New("the trusted root has neither a transparency log nor a timestamp authority, so nothing says when a certificate was used")
	}
	if len(trusted.CTLogs()) > 0 {
		choices = append(choices, verify.WithSignedCertificateTimestamps(1))
	}
	v, err := verify.NewVerifier(trusted, choices...)
	if err != nil {
		return signer{}, err
	}
	return signer{name: name, verifier: v, policy: verify.WithCertificateIdentity(identity), log: true}, nil
}
