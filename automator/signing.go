package automator

import (
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// signer reads the key that signs commits, which may do so at a time; there may be none.
func (c SigningConfig) signer(at time.Time) (gitobject.Signer, error) {
	if c.GPGKeyFile != "" {
		armored, err := config.ReadSecret(c.GPGKeyFile)
		if err != nil {
			return nil, fmt.Errorf("signing.gpgKeyFile: %w", err)
		}
		signer, err := gitobject.ParseGPGSigner([]byte(armored), at)
		if err != nil {
			return nil, fmt.Errorf("signing.gpgKeyFile: %s: %w", c.GPGKeyFile, err)
		}
		return signer, nil
	}
	if c.SSHKeyFile == "" {
		return nil, nil // all commits are made by API
	}
	pem, err := config.ReadSecret(c.SSHKeyFile)
	if err != nil {
		return nil, fmt.Errorf("signing.sshKeyFile: %w", err)
	}
	key, err := ssh.ParsePrivateKey([]byte(pem + "\n"))
	if err != nil {
		return nil, fmt.Errorf("signing.sshKeyFile: %s is not an SSH private key without a passphrase: %w", c.SSHKeyFile, err)
	}
	return gitobject.SSHSigner{Key: key}, nil
}
