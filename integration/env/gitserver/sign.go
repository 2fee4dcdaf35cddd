package gitserver

import (
	"bytes"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// gitNamespace is what Git signs under, so that a signature of its commits is
// one of nothing else.
const gitNamespace = "git"

// SSHSigner signs commits with an SSH key, as Git does with gpg.format=ssh.
func SSHSigner(key ssh.Signer) Signer {
	return func(commit []byte) (string, error) {
		signature, err := sshsig.Sign(bytes.NewReader(commit), key, sshsig.HashSHA512, gitNamespace)
		if err != nil {
			return "", err
		}
		return string(sshsig.Armor(signature)), nil
	}
}
