package gitobject_test

import (
	"bytes"
	"crypto"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/gitobject/gitobjecttest"
)

var (
	noon       = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	gpgPayload = []byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\nmessage\n")
)

// verifyGPG is what a verifier does with one armored key: the key that a signature names, and whether it made it.
func verifyGPG(public string, payload, armored []byte) (gitobject.GPGKey, error) {
	keys, err := gitobject.ParseGPGKeys([]byte(public))
	if err != nil {
		return gitobject.GPGKey{}, err
	}
	signature, err := gitobject.ParseGPGSignature(armored)
	if err != nil {
		return gitobject.GPGKey{}, err
	}
	for _, key := range keys {
		if signature.Issuer == key.Fingerprint || signature.Issuer == key.ID {
			return key, key.Verify(payload, signature)
		}
	}
	return gitobject.GPGKey{}, errUnknownKey
}

var errUnknownKey = errors.New("no such key")

func TestSignVerifyGPG(t *testing.T) {
	t.Parallel()
	for name, algorithm := range map[string]packet.PublicKeyAlgorithm{
		"EdDSA": packet.PubKeyAlgoEdDSA, "RSA": packet.PubKeyAlgoRSA, "ECDSA": packet.PubKeyAlgoECDSA,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := gitobjecttest.NewGPGKey("ann", noon, time.Hour, algorithm)
			signer, err := gitobject.ParseGPGSigner([]byte(key.Private()), noon)
			if err != nil {
				t.Fatal(err)
			}
			armored, err := signer.Sign(gpgPayload, noon.Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			by, err := verifyGPG(key.Public(), gpgPayload, armored)
			if err != nil || !by.Signs || by.Revoked || !by.From.Equal(noon) || !by.Until.Equal(noon.Add(time.Hour)) {
				t.Errorf("verified by %+v, %v", by, err)
			}
			if signature, err := gitobject.ParseGPGSignature(armored); err != nil || !signature.Made.Equal(noon.Add(time.Minute)) || !signature.Until.IsZero() {
				t.Errorf("signature %+v, %v", signature, err)
			}
			if _, err := verifyGPG(key.Public(), []byte("other"), armored); !errors.Is(err, gitobject.ErrMalformed) {
				t.Errorf("over other bytes: %v, want it refused", err)
			}
			if _, err := signer.Sign(gpgPayload, noon.Add(2*time.Hour)); err == nil {
				t.Error("a key signed after its end")
			}
		})
	}
}

func TestVerifyGPGRefuses(t *testing.T) {
	t.Parallel()
	key := gitobjecttest.NewGPGKey("ann", noon, 0, packet.PubKeyAlgoEdDSA)
	sign := func(shape func(*packet.Signature)) []byte { return key.Sign(gpgPayload, key.PrivateKey, shape) }
	good := sign(nil)
	short := *key.PrivateKey
	short.Fingerprint = nil
	for _, armored := range [][]byte{good, key.Sign(gpgPayload, &short, nil)} { // by fingerprint, and by id as of old
		if _, err := verifyGPG(key.Public(), gpgPayload, armored); err != nil {
			t.Fatal(err)
		}
	}
	nameless := key.Sign(gpgPayload, &short, func(s *packet.Signature) { s.IssuerKeyId = nil })
	cases := map[string]struct {
		reason  string
		armored []byte
	}{
		"WeakHash":  {"SHA-1 can be made to collide", sign(func(s *packet.Signature) { s.Hash = crypto.SHA1 })},
		"ShortHash": {"it is not in the list", sign(func(s *packet.Signature) { s.Hash = crypto.SHA224 })},
		"Text":      {"it covers other line ends", sign(func(s *packet.Signature) { s.SigType = packet.SigTypeText })},
		"OfAKey":    {"it says something of a key", sign(func(s *packet.Signature) { s.SigType = packet.SigTypeDirectSignature })},
		"Notation": {"who does not understand it must not believe it", sign(func(s *packet.Signature) {
			s.Notations = []*packet.Notation{{Name: "x@example.com", Value: []byte("1"), IsCritical: true}}
		})},
		"NoIssuer":   {"nobody is named", nameless},
		"Two":        {"one signature at a time", append(bytes.Clone(good), good...)},
		"TextBefore": {"nothing before it", append([]byte("x\n"), good...)},
		"TextAfter":  {"nothing after it", append(bytes.Clone(good), "x\n"...)},
		"Cut":        {"all of it", bytes.Replace(good, []byte("-----END"), nil, 1)},
		"Empty":      {"something in it", []byte("-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n")},
		"Key":        {"a key is no signature", []byte(key.Public())},
		"TooLarge":   {"size has a bound", append(bytes.Clone(good), strings.Repeat("\n", gitobject.MaxSignature)...)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if by, err := verifyGPG(key.Public(), gpgPayload, tc.armored); !errors.Is(err, gitobject.ErrMalformed) {
				t.Errorf("%s: verified by %+v, %v", tc.reason, by, err)
			}
		})
	}
}

// A signature that names a key which did not make it is none of that key.
func TestGPGSignatureInAnothersName(t *testing.T) {
	t.Parallel()
	ann := gitobjecttest.NewGPGKey("ann", noon, 0, packet.PubKeyAlgoEdDSA)
	eve := gitobjecttest.NewGPGKey("ann", noon, 0, packet.PubKeyAlgoEdDSA) // the name is free for all
	own := eve.Sign(gpgPayload, eve.PrivateKey, nil)
	if by, err := verifyGPG(ann.Public(), gpgPayload, own); !errors.Is(err, errUnknownKey) {
		t.Errorf("verified by %+v, %v", by, err)
	}
	as := *eve.PrivateKey
	as.KeyId, as.Fingerprint = ann.PrimaryKey.KeyId, ann.PrimaryKey.Fingerprint
	forged := eve.Sign(gpgPayload, &as, nil)
	if by, err := verifyGPG(ann.Public(), gpgPayload, forged); !errors.Is(err, gitobject.ErrMalformed) {
		t.Errorf("verified by %+v, %v", by, err)
	}
}

func TestWhatAGPGKeySaysOfItself(t *testing.T) {
	t.Parallel()
	at := &packet.Config{Time: func() time.Time { return noon.Add(time.Minute) }}
	revoked := gitobjecttest.NewGPGKey("eve", noon, 0, packet.PubKeyAlgoEdDSA)
	if err := revoked.RevokeKey(packet.KeyRetired, "", at); err != nil {
		t.Fatal(err)
	}
	encrypts := gitobjecttest.NewGPGKey("ben", noon, 0, packet.PubKeyAlgoRSA)
	signing := gitobjecttest.NewGPGKey("cat", noon, 0, packet.PubKeyAlgoEdDSA)
	if err := signing.AddSigningSubkey(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: 60, Time: at.Time}); err != nil {
		t.Fatal(err)
	}
	lost := gitobjecttest.NewGPGKey("dan", noon, 0, packet.PubKeyAlgoEdDSA)
	if err := lost.AddSigningSubkey(at); err != nil {
		t.Fatal(err)
	}
	if err := lost.RevokeSubkey(&lost.Subkeys[1], packet.KeyCompromised, "", at); err != nil {
		t.Fatal(err)
	}
	alone := func(shapes ...func(*packet.Signature)) gitobjecttest.GPGKey {
		key := gitobjecttest.NewGPGKey("fay", noon, 0, packet.PubKeyAlgoEdDSA)
		for i, shape := range shapes {
			key.SayAlone(noon.Add(time.Duration(i)*time.Second), key, shape)
		}
		return key
	}
	life := func(seconds uint32) func(*packet.Signature) {
		return func(s *packet.Signature) { s.KeyLifetimeSecs = &seconds }
	}
	ends := func(s *packet.Signature) { seconds := uint32(60); s.SigLifetimeSecs = &seconds }
	certifies := func(s *packet.Signature) { s.FlagsValid, s.FlagCertify = true, true }
	short, renewed, certifier, ending := alone(life(60)), alone(life(60), life(120)), alone(certifies), alone(ends)
	unnamed := alone()
	nobody := *unnamed.PrivateKey
	nobody.Fingerprint = nil
	unnamed.SayAlone(noon, gitobjecttest.GPGKey{Entity: &openpgp.Entity{PrivateKey: &nobody}}, func(s *packet.Signature) {
		life(60)(s)
		s.IssuerKeyId = nil
	})
	attested := alone()
	attested.SayAlone(noon, gitobjecttest.NewGPGKey("gus", noon, 0, packet.PubKeyAlgoEdDSA), life(60))
	onlyAlone := alone(func(s *packet.Signature) { s.FlagsValid, s.FlagSign = true, true })
	for _, name := range onlyAlone.Identities {
		name.SelfSignature.FlagsValid = false
		if err := name.SelfSignature.SignUserId(name.UserId.Id, onlyAlone.PrimaryKey, onlyAlone.PrivateKey, nil); err != nil {
			t.Fatal(err)
		}
	}
	shortSub := alone(life(60))
	if err := shortSub.AddSigningSubkey(at); err != nil {
		t.Fatal(err)
	}
	gone := gitobjecttest.NewGPGKey("hal", noon, 0, packet.PubKeyAlgoEdDSA)
	if err := errors.Join(gone.AddSigningSubkey(at), gone.RevokeKey(packet.KeyRetired, "", at)); err != nil {
		t.Fatal(err)
	}
	renamed := gitobjecttest.NewGPGKey("ida", noon, 0, packet.PubKeyAlgoEdDSA)
	for _, name := range renamed.Identities {
		revocation := &packet.Signature{
			Version: 4, SigType: packet.SigTypeCertificationRevocation, PubKeyAlgo: renamed.PrivateKey.PubKeyAlgo, Hash: crypto.SHA512,
			CreationTime: noon.Add(time.Minute), IssuerKeyId: &renamed.PrivateKey.KeyId,
		}
		if err := revocation.SignUserId(name.UserId.Id, renamed.PrimaryKey, renamed.PrivateKey, nil); err != nil {
			t.Fatal(err)
		}
		name.Signatures = append(name.Signatures, revocation)
	}
	nameless := alone(func(s *packet.Signature) { s.FlagsValid, s.FlagSign = true, true })
	for _, name := range nameless.Identities {
		revocation := &packet.Signature{
			Version: 4, SigType: packet.SigTypeCertificationRevocation, PubKeyAlgo: nameless.PrivateKey.PubKeyAlgo, Hash: crypto.SHA512,
			CreationTime: noon.Add(time.Minute), IssuerKeyId: &nameless.PrivateKey.KeyId,
		}
		if err := revocation.SignUserId(name.UserId.Id, nameless.PrimaryKey, nameless.PrivateKey, nil); err != nil {
			t.Fatal(err)
		}
		name.Signatures = []*packet.Signature{revocation}
	}
	tests := map[string]struct {
		reason         string
		key            gitobjecttest.GPGKey
		by             *packet.PrivateKey
		signs, revoked bool
		until          time.Time
	}{
		"Revoked":           {"for whatever reason", revoked, revoked.PrivateKey, true, true, time.Time{}},
		"EncryptionSubkey":  {"it could sign, and is not for it", encrypts, encrypts.Subkeys[0].PrivateKey, false, false, time.Time{}},
		"SigningSubkey":     {"with an end of its own", signing, signing.Subkeys[1].PrivateKey, true, false, noon.Add(2 * time.Minute)},
		"RevokedSubkey":     {"", lost, lost.Subkeys[1].PrivateKey, true, true, time.Time{}},
		"SubkeyOfARevoked":  {"it hangs on what is revoked", gone, gone.Subkeys[1].PrivateKey, true, true, time.Time{}},
		"NoSelfSignature":   {"it says nothing of itself but that it has no name", nameless, nameless.PrivateKey, false, true, time.Time{}},
		"RevokedName":       {"its only name does not count", renamed, renamed.PrivateKey, true, true, time.Time{}},
		"Alone":             {"its end may stand beside its names", short, short.PrivateKey, true, false, noon.Add(time.Minute)},
		"AloneSubkey":       {"no subkey outlives it", shortSub, shortSub.Subkeys[1].PrivateKey, true, false, noon.Add(time.Minute)},
		"AloneRenewed":      {"its last word counts", renewed, renewed.PrivateKey, true, false, noon.Add(2 * time.Minute)},
		"AloneEnds":         {"the word itself has an end", ending, ending.PrivateKey, true, false, noon.Add(time.Minute)},
		"AloneCertifies":    {"it is not for signing", certifier, certifier.PrivateKey, false, false, time.Time{}},
		"AloneSigns":        {"its names say nothing of it", onlyAlone, onlyAlone.PrivateKey, true, false, time.Time{}},
		"AloneUnnamed":      {"nobody else can have made it", unnamed, unnamed.PrivateKey, true, false, noon.Add(time.Minute)},
		"AloneByAnother":    {"it is not its own word", attested, attested.PrivateKey, true, false, time.Time{}},
		"BesideARevokedOne": {"its primary key goes on", lost, lost.PrivateKey, true, false, time.Time{}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			by, err := verifyGPG(tc.key.Public(), gpgPayload, tc.key.Sign(gpgPayload, tc.by, nil))
			if err != nil || by.Signs != tc.signs || by.Revoked != tc.revoked || !by.Until.Equal(tc.until) {
				t.Errorf("%s: verified by %+v, %v", tc.reason, by, err)
			}
		})
	}
}

// A subkey counts from its own beginning, and not before the key that it hangs on.
func TestWhenAGPGSubkeyBegins(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ made, from time.Time }{
		"Later":   {noon.Add(time.Minute), noon.Add(time.Minute)},
		"Earlier": {noon.Add(-time.Minute), noon},
	} {
		key := gitobjecttest.NewGPGKey("ann", noon, 0, packet.PubKeyAlgoEdDSA)
		if err := key.AddSigningSubkey(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return tc.made }}); err != nil {
			t.Fatal(err)
		}
		by, err := verifyGPG(key.Public(), gpgPayload, key.Sign(gpgPayload, key.Subkeys[1].PrivateKey, nil))
		if err != nil || !by.From.Equal(tc.from) {
			t.Errorf("%s: counts from %s, %v; want %s", name, by.From, err, tc.from)
		}
	}
}

// A key that is too weak is refused, unless it does not count anyway; then nothing that it signed is believed either.
func TestWeakGPGKeys(t *testing.T) {
	t.Parallel()
	at := &packet.Config{Time: func() time.Time { return noon }, RSABits: 1024, Algorithm: packet.PubKeyAlgoRSA}
	weak := func() gitobjecttest.GPGKey {
		entity, err := openpgp.NewEntity("ann", "", "ann@example.com", at)
		if err != nil {
			t.Fatal(err)
		}
		return gitobjecttest.GPGKey{Entity: entity}
	}
	key, strong := weak(), gitobjecttest.NewGPGKey("ann", noon, 0, packet.PubKeyAlgoEdDSA)
	if err := strong.AddSigningSubkey(at); err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]gitobjecttest.GPGKey{"Primary": key, "Subkey": strong} {
		if keys, err := gitobject.ParseGPGKeys([]byte(key.Public())); !errors.Is(err, gitobject.ErrMalformed) || !strings.Contains(err.Error(), "1024 bits is weaker") {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
	signed := key.Sign(gpgPayload, key.PrivateKey, nil)
	if err := key.RevokeKey(packet.KeySuperseded, "", at); err != nil {
		t.Fatal(err)
	}
	if by, err := verifyGPG(key.Public(), gpgPayload, signed); !by.Revoked || !errors.Is(err, gitobject.ErrMalformed) || !strings.Contains(err.Error(), "weaker") {
		t.Errorf("revoked: verified by %+v, %v; want it read, and its signature refused", by, err)
	}
}

func TestParseGPGKeysRefuses(t *testing.T) {
	t.Parallel()
	key := gitobjecttest.NewGPGKey("ann", noon, 0, packet.PubKeyAlgoEdDSA)
	for name, text := range map[string]string{
		"Private": key.Private(),
		"Two":     key.Public() + key.Public(),
		"Cut":     key.Public()[:200],
		"Nothing": "",
		"Changed": strings.Replace(key.Public(), "\n\n", "\n\nAAAA", 1),
	} {
		if keys, err := gitobject.ParseGPGKeys([]byte(text)); !errors.Is(err, gitobject.ErrMalformed) {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
}

// Whatever the library passes over may be what revokes a key, and there is a limit.
func TestBlocksOfGPGKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	block := func(after []byte, keys ...gitobjecttest.GPGKey) []byte {
		var out bytes.Buffer
		w, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
		for _, key := range keys {
			err = errors.Join(err, key.Serialize(w))
		}
		if err == nil {
			_, err = w.Write(after)
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	key := gitobjecttest.NewGPGKey("ann", noon, 0, packet.PubKeyAlgoEdDSA)
	many := make([]gitobjecttest.GPGKey, 33) // with a subkey each
	for i := range many {
		many[i] = gitobjecttest.NewGPGKey("ann", noon, 0, packet.PubKeyAlgoEdDSA)
	}
	strange := []byte{0xc2, 12, 4, 0x20, 99, 8, 0, 0, 0, 0, 0, 0, 0, 0} // a revocation by an algorithm of the future
	if keys, err := gitobject.ParseGPGKeys(block(nil, many[:32]...)); err != nil || len(keys) != 64 {
		t.Errorf("32 keys with subkeys: %d, %v", len(keys), err)
	}
	for name, armored := range map[string][]byte{"TooMany": block(nil, many...), "Strange": block(strange, key)} {
		if keys, err := gitobject.ParseGPGKeys(armored); !errors.Is(err, gitobject.ErrMalformed) {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
}

// A key that has signed, by its own word, what it has not is none to be believed.
func TestGPGKeyWithAForgedWord(t *testing.T) {
	t.Parallel()
	key, other := gitobjecttest.NewGPGKey("ann", noon, 0, packet.PubKeyAlgoEdDSA), gitobjecttest.NewGPGKey("eve", noon, 0, packet.PubKeyAlgoEdDSA)
	as := gitobjecttest.GPGKey{Entity: &openpgp.Entity{PrivateKey: new(*other.PrivateKey)}}
	as.PrivateKey.KeyId, as.PrivateKey.Fingerprint = key.PrimaryKey.KeyId, key.PrimaryKey.Fingerprint
	key.SayAlone(noon, as, func(*packet.Signature) {})
	if keys, err := gitobject.ParseGPGKeys([]byte(key.Public())); !errors.Is(err, gitobject.ErrMalformed) {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

func FuzzParseGPG(f *testing.F) {
	key := gitobjecttest.NewGPGKey("ann", noon, 0, packet.PubKeyAlgoEdDSA)
	good := key.Sign(gpgPayload, key.PrivateKey, nil)
	f.Add(good, []byte(key.Public()))
	f.Add([]byte("-----BEGIN PGP SIGNATURE-----\n\niF0=\n-----END PGP SIGNATURE-----\n"), []byte(key.Private()))
	keys, err := gitobject.ParseGPGKeys([]byte(key.Public()))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, signature, ring []byte) {
		if _, err := gitobject.ParseGPGKeys(ring); err != nil && !errors.Is(err, gitobject.ErrMalformed) {
			t.Errorf("ParseGPGKeys: %v", err)
		}
		read, err := gitobject.ParseGPGSignature(signature)
		if err != nil {
			return
		}
		if err := keys[0].Verify([]byte("other"), read); err == nil {
			t.Errorf("%q verifies other bytes", signature)
		}
	})
}
