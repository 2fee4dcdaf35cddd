package gitobject

import (
	"bytes"
	"crypto"
	_ "crypto/sha256" // hashes of signatures
	_ "crypto/sha3"
	_ "crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/tandem-cd/tandem/shared/instant"
)

const (
	gpgSignatureType = "PGP SIGNATURE"
	gpgKeyType       = "PGP PUBLIC KEY BLOCK"
	// maxGPGKeys bounds the keys, subkeys included, of one armored block.
	maxGPGKeys = 64
	// minCurveBits is the weakest elliptic curve whose signature counts.
	minCurveBits = 250
)

// GPGKey is an OpenPGP key, or a subkey, with what its owner says of it.
type GPGKey struct {
	// Fingerprint names the key, in lower case hexadecimal digits.
	Fingerprint string
	// ID is a part of it, by which signatures without a fingerprint name the key. Others may have the same.
	ID string
	// From and Until bound when the key counts by its owner's word. A zero Until is never.
	From, Until time.Time
	// Revoked is set once its owner, for whatever reason, has revoked it or what it hangs on.
	Revoked bool
	// Signs tells whether its owner has it sign.
	Signs bool

	public *packet.PublicKey
}

// ParseGPGKeys reads one armored block of public keys, as `gpg --armor --export` writes it, and returns the keys in it with
// their subkeys. Names and addresses in them mean nothing here.
func ParseGPGKeys(armored []byte) ([]GPGKey, error) {
	block, err := openArmor(armored, gpgKeyType)
	if err != nil {
		return nil, err
	}
	alone, err := ownWords(block)
	if err != nil {
		return nil, err
	}
	owners, err := openpgp.ReadKeyRing(bytes.NewReader(block))
	if err != nil {
		return nil, malformed("OpenPGP key: %v", err)
	}
	var keys []GPGKey
	for _, owner := range owners {
		keys = append(keys, keysOf(owner, alone[string(owner.PrimaryKey.Fingerprint)])...)
	}
	if len(keys) > maxGPGKeys {
		return nil, malformed("%d OpenPGP keys are more than %d", len(keys), maxGPGKeys)
	}
	for _, key := range keys {
		if err := key.check(); key.Signs && !key.Revoked && err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// ownWords finds what primary keys say of themselves alone, by their fingerprints: the newest direct-key signature of each,
// which the library passes over where a key is older than version 6. It refuses keys with a signature that the library would
// pass over because it does not understand it: it may be what revokes one of them.
func ownWords(block []byte) (map[string]*packet.Signature, error) {
	words := map[string]*packet.Signature{}
	var primary *packet.PublicKey
	packets := packet.NewReader(bytes.NewReader(block))
	for {
		next, err := packets.NextWithUnsupported()
		if errors.Is(err, io.EOF) {
			return words, nil
		}
		if err != nil {
			return nil, malformed("OpenPGP key: %v", err)
		}
		switch p := next.(type) {
		case *packet.PublicKey:
			if !p.IsSubkey {
				primary = p
			}
		case *packet.UnsupportedPacket:
			if _, signs := p.IncompletePacket.(*packet.Signature); signs {
				return nil, malformed("OpenPGP key with a signature that is not understood, perhaps by somebody else (export it with --export-options export-minimal): %v", p.Error)
			}
		case *packet.Signature:
			if primary == nil || p.SigType != packet.SigTypeDirectSignature || issuerOf(p) != "" && !p.CheckKeyIdOrFingerprint(primary) {
				continue
			}
			if err := primary.VerifyDirectKeySignature(p); err != nil {
				return nil, malformed("OpenPGP key with a signature over itself that is not its own: %v", err)
			}
			if known := words[string(primary.Fingerprint)]; known == nil || p.CreationTime.After(known.CreationTime) {
				words[string(primary.Fingerprint)] = p
			}
		}
	}
}

// keysOf lists a primary key and its subkeys. The library has checked the signatures that bind them, and those by which
// subkeys that sign agree to it. What the primary key says of itself alone is nil where it says nothing.
func keysOf(owner *openpgp.Entity, alone *packet.Signature) []GPGKey {
	self, identity := owner.PrimarySelfSignature()
	primary := GPGKey{Revoked: len(owner.Revocations) > 0 || self == nil}
	if identity != nil {
		primary.Revoked = primary.Revoked || len(identity.Revocations) > 0
	}
	primary.describe(owner.PrimaryKey, self)
	primary.narrow(self, alone)
	keys := []GPGKey{primary}
	for _, sub := range owner.Subkeys {
		key := GPGKey{Revoked: primary.Revoked || len(sub.Revocations) > 0}
		key.describe(sub.PublicKey, sub.Sig)
		key.From, key.Until = instant.Later(key.From, primary.From), instant.EarlierEnd(key.Until, primary.Until)
		keys = append(keys, key)
	}
	return keys
}

// describe takes over what a self-signature says about a key.
func (k *GPGKey) describe(public *packet.PublicKey, self *packet.Signature) {
	k.public, k.From = public, public.CreationTime
	k.Fingerprint, k.ID = hex.EncodeToString(public.Fingerprint), keyID(public.KeyId)
	if self == nil {
		return
	}
	k.Signs = self.FlagsValid && self.FlagSign
	k.Until = instant.EarlierEnd(after(public.CreationTime, self.KeyLifetimeSecs), after(self.CreationTime, self.SigLifetimeSecs))
}

// narrow takes over what a primary key says of itself alone. It counts for as long as both let it; what it is for stands in
// either, and neither may deny it.
func (k *GPGKey) narrow(self, alone *packet.Signature) {
	if self == nil || alone == nil {
		return
	}
	if alone.FlagsValid {
		k.Signs = alone.FlagSign && (k.Signs || !self.FlagsValid)
	}
	k.Until = instant.EarlierEnd(k.Until, instant.EarlierEnd(after(k.From, alone.KeyLifetimeSecs), after(alone.CreationTime, alone.SigLifetimeSecs)))
}

// after is when a lifetime ends; zero for one that does not.
func after(begin time.Time, seconds *uint32) time.Time {
	if seconds == nil || *seconds == 0 {
		return time.Time{}
	}
	return begin.Add(time.Duration(*seconds) * time.Second)
}

// check refuses a key whose signatures do not count.
func (k *GPGKey) check() error {
	bits, err := k.public.BitLength()
	if err != nil {
		return malformed("OpenPGP key %s: %v", k.Fingerprint, err)
	}
	least := uint16(minCurveBits)
	switch k.public.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		least = minRSABits
	case packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoEd25519, packet.PubKeyAlgoEd448:
	default:
		return malformed("OpenPGP key %s is of an algorithm that is not accepted (number %d)", k.Fingerprint, k.public.PubKeyAlgo)
	}
	if bits < least {
		return malformed("OpenPGP key %s of %d bits is weaker than %d", k.Fingerprint, bits, least)
	}
	return nil
}

// GPGSignature is an OpenPGP signature that was read and not verified yet.
type GPGSignature struct {
	// Issuer says whose it claims to be: a fingerprint, or the id of a key.
	Issuer string
	// Made is when it was made, by its own word. Until is when it ends; zero is never.
	Made, Until time.Time

	packet *packet.Signature
}

// IsGPG tells whether an armored signature is one of OpenPGP.
func IsGPG(armored []byte) bool {
	return bytes.HasPrefix(armored, []byte("-----BEGIN "+gpgSignatureType+"-----"))
}

// ParseGPGSignature reads an armored signature of a file, as git has gpg make it. There is exactly one in it, its hash is
// of the SHA-2 or SHA-3 family, and nothing critical stands in it that is not understood.
func ParseGPGSignature(armored []byte) (*GPGSignature, error) {
	if len(armored) > MaxSignature {
		return nil, malformed("signature of %d bytes is larger than %d", len(armored), MaxSignature)
	}
	block, err := openArmor(armored, gpgSignatureType)
	if err != nil {
		return nil, err
	}
	reader := bytes.NewReader(block)
	first, err := packet.Read(reader)
	if err != nil {
		return nil, malformed("OpenPGP signature: %v", err)
	}
	signature, ok := first.(*packet.Signature)
	if !ok || reader.Len() > 0 {
		return nil, malformed("not one OpenPGP signature")
	}
	if err := checkGPGSignature(signature); err != nil {
		return nil, err
	}
	return &GPGSignature{
		Issuer: issuerOf(signature), Made: signature.CreationTime,
		Until: after(signature.CreationTime, signature.SigLifetimeSecs), packet: signature,
	}, nil
}

// gpgHashes are the hashes that a signature may be made with.
var gpgHashes = []crypto.Hash{ //nolint:gochecknoglobals // a constant list
	crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512,
}

func checkGPGSignature(s *packet.Signature) error {
	switch {
	case s.Version != 4 && s.Version != 6:
		return malformed("OpenPGP signature of version %d", s.Version)
	case s.SigType != packet.SigTypeBinary:
		return malformed("OpenPGP signature of type 0x%02x is none of a file", uint8(s.SigType))
	case !slices.Contains(gpgHashes, s.Hash):
		return malformed("OpenPGP signature by the hash %s, which is not accepted", s.Hash)
	case s.CreationTime.IsZero():
		return malformed("OpenPGP signature without a time")
	case issuerOf(s) == "":
		return malformed("OpenPGP signature without an issuer")
	}
	for _, notation := range s.Notations {
		if notation.IsCritical {
			return malformed("OpenPGP signature with the critical notation %q", clip(notation.Name))
		}
	}
	return nil
}

func issuerOf(s *packet.Signature) string {
	switch {
	case len(s.IssuerFingerprint) > 0:
		return hex.EncodeToString(s.IssuerFingerprint)
	case s.IssuerKeyId != nil:
		return keyID(*s.IssuerKeyId)
	}
	return ""
}

func keyID(id uint64) string { return fmt.Sprintf("%016x", id) }

// Verify tells whether the key made a signature over payload. Whether the key may, and counts at that time, is for the
// caller.
func (k *GPGKey) Verify(payload []byte, s *GPGSignature) error {
	if err := k.check(); err != nil {
		return err
	}
	hash, err := s.packet.PrepareVerify()
	if err != nil {
		return malformed("OpenPGP signature: %v", err)
	}
	_, _ = hash.Write(payload) // hashes do not fail
	if err := k.public.VerifySignature(hash, s.packet); err != nil {
		return malformed("OpenPGP signature by %s: %v", k.Fingerprint, err)
	}
	return nil
}

// openArmor takes exactly one block and nothing around it.
func openArmor(armored []byte, kind string) ([]byte, error) {
	text := strings.TrimSpace(strings.ReplaceAll(string(armored), "\r\n", "\n"))
	begin, end := "-----BEGIN "+kind+"-----\n", "\n-----END "+kind+"-----"
	if !strings.HasPrefix(text, begin) || !strings.HasSuffix(text, end) || strings.Count(text, "-----BEGIN ") != 1 {
		return nil, malformed("not one armored block of %q", kind)
	}
	block, err := armor.Decode(strings.NewReader(text))
	if err != nil {
		return nil, malformed("armor of OpenPGP: %v", err)
	}
	content, err := io.ReadAll(block.Body)
	if err != nil {
		return nil, malformed("armor of OpenPGP: %v", err)
	}
	return content, nil
}
