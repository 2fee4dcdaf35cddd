package gitobject

import (
	"bytes"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// signatureNamespace keeps a signature made for something else, such as a
// file or a login, from counting as one of Git's.
const signatureNamespace = "git"

// minRSABits is the weakest RSA key whose signature counts.
const minRSABits = 2048

// SignSSH signs payload as `git commit -S` does with gpg.format=ssh. The
// result is armored and fits [Commit.Signature] and [Tag.Signature].
func SignSSH(signer ssh.Signer, payload []byte) ([]byte, error) {
	if err := CheckKey(signer.PublicKey()); err != nil {
		return nil, err
	}
	signature, err := sshsig.Sign(bytes.NewReader(payload), signer, sshsig.HashSHA512, signatureNamespace)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", ssh.FingerprintSHA256(signer.PublicKey()), err)
	}
	return sshsig.Armor(signature), nil
}

// VerifySSH checks an armored signature over payload and returns the key that
// made it. Whose key that is, and whether it counts, is for the caller.
func VerifySSH(payload, armored []byte) (ssh.PublicKey, error) {
	signature, err := parseArmor(armored)
	if err != nil {
		return nil, err
	}
	key := signature.PublicKey
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	err = sshsig.Verify(bytes.NewReader(payload), signature, key, signature.HashAlgorithm, signatureNamespace)
	if err != nil {
		return nil, fmt.Errorf("signature by %s: %w", ssh.FingerprintSHA256(key), err)
	}
	return key, nil
}

// parseArmor takes exactly one block and nothing around it.
func parseArmor(armored []byte) (*sshsig.Signature, error) {
	if len(armored) > MaxSignature {
		return nil, malformed("signature of %d bytes is larger than %d", len(armored), MaxSignature)
	}
	if !bytes.HasPrefix(armored, []byte("-----BEGIN "+sshsig.PEMType+"-----")) {
		return nil, malformed("not an SSH signature")
	}
	block, rest := pem.Decode(armored)
	if block == nil || block.Type != sshsig.PEMType || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, malformed("SSH signature is not one armored block")
	}
	signature, err := sshsig.ParseSignature(block.Bytes)
	if err != nil {
		return nil, malformed("SSH signature: %v", err)
	}
	return signature, nil
}

// keyTypes are the keys whose signatures count. DSA is broken, and a
// certificate would need its authority's policy.
var keyTypes = []string{ //nolint:gochecknoglobals // a constant list
	ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519,
	ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256,
	ssh.KeyAlgoRSA,
}

// CheckKey refuses a key whose signatures do not count.
func CheckKey(key ssh.PublicKey) error {
	if !slices.Contains(keyTypes, key.Type()) {
		return malformed("keys of type %q are not accepted", clip(key.Type()))
	}
	crypto, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil
	}
	if public, ok := crypto.CryptoPublicKey().(*rsa.PublicKey); ok && public.N.BitLen() < minRSABits {
		return malformed("RSA key of %d bits is weaker than %d", public.N.BitLen(), minRSABits)
	}
	return nil
}
