package gitobjecttest

import (
	"bytes"
	"crypto"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// GPGKey is an OpenPGP key of somebody, to be changed by tests.
type GPGKey struct{ *openpgp.Entity }

// NewGPGKey makes a key: a primary one that signs and certifies, and a subkey that encrypts. The zero lifetime is without end.
func NewGPGKey(name string, made time.Time, life time.Duration, algorithm packet.PublicKeyAlgorithm) GPGKey {
	config := &packet.Config{
		Algorithm: algorithm, RSABits: 2048, Time: func() time.Time { return made }, KeyLifetimeSecs: uint32(life.Seconds()),
	}
	if algorithm == packet.PubKeyAlgoECDSA {
		config.Curve = packet.CurveNistP256
	}
	entity, err := openpgp.NewEntity(name, "", name+"@example.com", config)
	if err != nil {
		panic(err)
	}
	return GPGKey{entity}
}

// Public is the armored public key.
func (k GPGKey) Public() string { return armored(openpgp.PublicKeyType, k.Serialize) }

// Private is the armored private key.
func (k GPGKey) Private() string {
	return armored(openpgp.PrivateKeyType, func(w io.Writer) error { return k.SerializePrivateWithoutSigning(w, nil) })
}

// Sign signs payload as `gpg --detach-sign --armor` does, with a key of the entity and what shape changes.
func (k GPGKey) Sign(payload []byte, by *packet.PrivateKey, shape func(*packet.Signature)) []byte {
	s := &packet.Signature{
		Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: by.PubKeyAlgo, Hash: crypto.SHA512,
		CreationTime: by.CreationTime, IssuerKeyId: &by.KeyId,
	}
	if shape != nil {
		shape(s)
	}
	hash := s.Hash.New()
	_, _ = hash.Write(payload) // hashes do not fail
	plain := false             // without a salt, which not every hash has
	if err := s.Sign(hash, by, &packet.Config{NonDeterministicSignaturesViaNotation: &plain}); err != nil {
		panic(err)
	}
	return []byte(armored(openpgp.SignatureType, s.Serialize))
}

// SayAlone has the key say something of itself, with no name in it: a direct-key signature by a key, with what shape changes.
func (k GPGKey) SayAlone(at time.Time, by GPGKey, shape func(*packet.Signature)) {
	s := &packet.Signature{
		Version: 4, SigType: packet.SigTypeDirectSignature, PubKeyAlgo: by.PrivateKey.PubKeyAlgo, Hash: crypto.SHA512,
		CreationTime: at, IssuerKeyId: &by.PrivateKey.KeyId,
	}
	shape(s)
	if err := s.SignDirectKeyBinding(k.PrimaryKey, by.PrivateKey, nil); err != nil {
		panic(err)
	}
	k.Signatures = append(k.Signatures, s)
}

func armored(kind string, write func(io.Writer) error) string {
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, nil)
	if err == nil {
		err = write(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(out.String()) + "\n"
}
