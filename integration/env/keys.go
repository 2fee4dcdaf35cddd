package env

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/shared/rpc/rpctest"
)

// gitUser is who the automator is to the Git server.
const gitUser = "tandem"

// registryUser is who it is to the registry of Options.Private.
const registryUser = "tandem"

// keys are the SSH keys of a world. Their private halves that an agent needs are
// files in its folder keys.
type keys struct {
	human, robot, stranger, remote ssh.Signer
	password                       string // of gitUser over HTTP
	registry                       string // of registryUser
	github                         string // the public key of the fake GitHub, if there is one
}

// authorized are those that may push by SSH.
func (k keys) authorized() []ssh.PublicKey { return []ssh.PublicKey{k.remote.PublicKey()} }

// line is a public key as authorized_keys writes it.
func line(key ssh.Signer) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))
}

func (w *World) makeKeys() (err error) {
	for name, into := range map[string]*ssh.Signer{
		"human": &w.keys.human, "robot": &w.keys.robot, "stranger": &w.keys.stranger, "remote": &w.keys.remote,
	} {
		if *into, err = newKey(w.file("keys", name)); err != nil {
			return fmt.Errorf("make key %s: %w", name, err)
		}
	}
	w.Human, w.Robot, w.Stranger = gitserver.SSHSigner(w.keys.human), gitserver.SSHSigner(w.keys.robot), gitserver.SSHSigner(w.keys.stranger)
	w.keys.password, w.token = newToken(), newToken()
	w.keys.registry = newToken() + "/+=&" // what addresses write in another way
	for name, secret := range map[string]string{"git-password": w.keys.password, "registry-password": w.keys.registry, "webhook-token": w.token} {
		if err := os.WriteFile(w.file("keys", name), []byte(secret), privateMode); err != nil {
			return err
		}
	}
	w.ca, err = rpctest.NewCA(w.file("keys"))
	return err
}

// newKey makes a key and writes its private half to a file.
func newKey(path string) (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), privateMode); err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}
