package automator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/tandem-cd/tandem/shared/gitobject/gitobjecttest"
)

func keyFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSigner(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	gpg := gitobjecttest.NewGPGKey("tandem", now.Add(-time.Hour), 2*time.Hour, packet.PubKeyAlgoEdDSA)
	locked := gitobjecttest.NewGPGKey("tandem", now.Add(-time.Hour), 0, packet.PubKeyAlgoEdDSA)
	if err := locked.EncryptPrivateKeys([]byte("passphrase"), nil); err != nil {
		t.Fatal(err)
	}
	ssh := string(gitobjecttest.NewKey("tandem").PEM())
	tests := map[string]struct {
		cfg   SigningConfig
		at    time.Time
		armor string // empty: refused
	}{
		"SSH":        {SigningConfig{SSHKeyFile: keyFile(t, ssh)}, now, "-----BEGIN SSH SIGNATURE-----"},
		"GPG":        {SigningConfig{GPGKeyFile: keyFile(t, gpg.Private())}, now, "-----BEGIN PGP SIGNATURE-----"},
		"GPGEnded":   {SigningConfig{GPGKeyFile: keyFile(t, gpg.Private())}, now.Add(2 * time.Hour), ""},
		"GPGLocked":  {SigningConfig{GPGKeyFile: keyFile(t, locked.Private())}, now, ""},
		"GPGPublic":  {SigningConfig{GPGKeyFile: keyFile(t, gpg.Public())}, now, ""},
		"GPGIsSSH":   {SigningConfig{GPGKeyFile: keyFile(t, ssh)}, now, ""},
		"SSHIsGPG":   {SigningConfig{SSHKeyFile: keyFile(t, gpg.Private())}, now, ""},
		"GPGMissing": {SigningConfig{GPGKeyFile: filepath.Join(t.TempDir(), "none")}, now, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signer, err := tc.cfg.signer(tc.at)
			if tc.armor == "" {
				if err == nil {
					t.Error("no error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			signed, err := signer.Sign([]byte("payload"), now)
			if err != nil || !strings.HasPrefix(string(signed), tc.armor) {
				t.Errorf("Sign: %q, %v", signed, err)
			}
		})
	}
}
