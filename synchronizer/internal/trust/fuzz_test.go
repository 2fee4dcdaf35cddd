package trust

import (
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/tandem-cd/tandem/shared/gitobject/gitobjecttest"
)

// Keys are written by people, in formats that allow more than is understood here.
func FuzzParseKeys(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIzAhMEKlIIDb0l0ZCbqJ7wMZsBOzcYvOGxxhBa1XiOX"
	f.Add(key + " ann\n# nobody\n\n")
	f.Add(`ann@example.com namespaces="git",valid-after="20260101",valid-before="20270101Z" ` + key)
	f.Add("cert-authority " + key)
	f.Add("ssh-rsa AAAA\n\"")
	f.Add(gitobjecttest.NewGPGKey("ann", midnight, 0, packet.PubKeyAlgoEdDSA).Public())
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseKeys(text)
		if err != nil {
			return
		}
		for _, key := range keys {
			if (key.Public == nil) == (key.GPG == nil) || key.GPG == nil && !key.Until.IsZero() && !key.From.Before(key.Until) {
				t.Errorf("key %+v", key)
			}
		}
	})
}
