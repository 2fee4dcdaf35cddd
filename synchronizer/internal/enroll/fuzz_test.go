package enroll

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
)

// What is kept is in a Secret, which others may write to.
func FuzzDecode(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	files, err := Kept{Key: key, Token: "token"}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(files[keyName], []byte(nil), []byte(nil))
	f.Add(files[keyName], []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte("x"))
	f.Fuzz(func(t *testing.T, key, certificate, ca []byte) {
		kept, err := decode(map[string][]byte{keyName: key, certificateName: certificate, caName: ca})
		if err != nil {
			return
		}
		if kept.Certificate != nil && (kept.Key == nil || !kept.Key.PublicKey.Equal(kept.Certificate.PublicKey)) {
			t.Error("the certificate is for another key")
		}
		if _, err := kept.encode(); err != nil {
			t.Errorf("what was read cannot be kept: %v", err)
		}
	})
}
