//go:debug rsa1024min=0

package gitobject

import (
	"bytes"
	"crypto"
	"crypto/dsa" //nolint:staticcheck // to see it refused
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"strings"
	"testing"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"
)

func signer(t testing.TB, key any, err error) ssh.Signer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newEd25519(t testing.TB) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return signer(t, key, err)
}

func TestSignVerifySSH(t *testing.T) {
	t.Parallel()
	strong, err := rsa.GenerateKey(rand.Reader, minRSABits)
	keys := map[string]ssh.Signer{"Ed25519": newEd25519(t), "RSA": signer(t, strong, err)}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		keys[curve.Params().Name] = signer(t, key, err)
	}
	for name, key := range keys {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			armored, err := SignSSH(key, []byte("payload"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := VerifySSH([]byte("payload"), armored)
			if err != nil || !bytes.Equal(got.Marshal(), key.PublicKey().Marshal()) {
				t.Errorf("VerifySSH(...) = %v, %v", got, err)
			}
			if _, err := VerifySSH([]byte("other"), armored); err == nil {
				t.Error("a signature of something else verified")
			}
		})
	}
}

func TestVerifySSHRefuses(t *testing.T) {
	t.Parallel()
	key := newEd25519(t)
	payload := []byte("payload")
	good, err := SignSSH(key, payload)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key ssh.Signer, hash sshsig.HashAlgorithm, namespace string) []byte {
		s, err := sshsig.Sign(bytes.NewReader(payload), key, hash, namespace)
		if err != nil {
			t.Fatal(err)
		}
		return sshsig.Armor(s)
	}
	weak := signer(t, weakRSA(t), nil)
	certificate, err := ssh.NewCertSigner(signedCertificate(t, key), key)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason  string
		armored []byte
	}{
		"Namespace":   {"a signature of a file is none of a commit", sign(key, sshsig.HashSHA512, "file")},
		"WeakRSA":     {"1024 bits are within reach", sign(weak, sshsig.HashSHA512, signatureNamespace)},
		"Certificate": {"a certificate needs its authority's policy", sign(certificate, sshsig.HashSHA512, signatureNamespace)},
		"Nothing":     {"no signature is no signature", nil},
		"PGP":         {"another kind of signature", []byte("-----BEGIN PGP SIGNATURE-----\n\nAA==\n-----END PGP SIGNATURE-----\n")},
		"TwoBlocks":   {"one signature at a time", append(bytes.Clone(good), good...)},
		"TextBefore":  {"nothing before it", append([]byte("x\n"), good...)},
		"TextAfter":   {"nothing after it", append(bytes.Clone(good), "x\n"...)},
		"Headers":     {"no headers in it", bytes.Replace(good, []byte("-----\n"), []byte("-----\nA: b\n\n"), 1)},
		"TooLarge":    {"size has a bound", append(bytes.Clone(good), strings.Repeat("\n", MaxSignature)...)},
		"Cut":         {"not half of one", good[:len(good)/2]},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := VerifySSH(payload, tc.armored); err == nil {
				t.Errorf("%s: VerifySSH(...) = %v, want an error", tc.reason, got)
			}
		})
	}
	if _, err := VerifySSH(payload, sign(key, sshsig.HashSHA256, signatureNamespace)); err != nil {
		t.Errorf("SHA-256 is as good: %v", err)
	}
}

func TestSignSSHRefusesWeakKeys(t *testing.T) {
	t.Parallel()
	if _, err := SignSSH(signer(t, weakRSA(t), nil), nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("SignSSH with 1024 bits: %v, want %v", err, ErrMalformed)
	}
	var old dsa.PrivateKey
	if err := dsa.GenerateParameters(&old.Parameters, rand.Reader, dsa.L1024N160); err != nil {
		t.Fatal(err)
	}
	if err := dsa.GenerateKey(&old, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, err := SignSSH(signer(t, &old, nil), nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("SignSSH with DSA: %v, want %v", err, ErrMalformed)
	}
}

func TestOneFlippedBitSpoilsASignature(t *testing.T) {
	t.Parallel()
	key := newEd25519(t)
	payload := []byte("tree 1\nauthor A\n\nmessage\n")
	armored, err := SignSSH(key, payload)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		p, s := bytes.Clone(payload), bytes.Clone(armored)
		flip := p
		if rapid.Bool().Draw(t, "signature") {
			flip = s
		}
		at := rapid.IntRange(0, len(flip)-1).Draw(t, "at")
		flip[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		got, err := VerifySSH(p, s)
		// Base64 has spare bits and armor has spare line breaks; they may
		// change what the text looks like, not whose signature it is.
		if err == nil && (!bytes.Equal(p, payload) || !bytes.Equal(got.Marshal(), key.PublicKey().Marshal())) {
			t.Fatalf("flipping a bit at %d left the signature good", at)
		}
	})
}

// weakRSA is only possible because of the directive above.
func weakRSA(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, minRSABits/2)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signedCertificate(t testing.TB, key ssh.Signer) *ssh.Certificate {
	t.Helper()
	c := &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity}
	if err := c.SignCert(rand.Reader, key); err != nil {
		t.Fatal(err)
	}
	return c
}
