package env

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
)

// Secrets are the passwords, tokens and keys that the world's agents were given in files so far, by where they are. Of a key
// in PEM it is a line.
func (w *World) Secrets() (map[string]string, error) {
	secrets := map[string]string{}
	for _, pattern := range []string{"keys/*", "*/token", "*/enrollment-token"} {
		files, err := filepath.Glob(w.file(filepath.FromSlash(pattern)))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			if secret, ok := secretOf(content); ok {
				secrets[file] = secret
			}
		}
	}
	for name := range w.Sites {
		file := w.file(name, "kubeconfig")
		config, err := clientcmd.LoadFromFile(file)
		if err != nil {
			return nil, err
		}
		for user, auth := range config.AuthInfos {
			secrets[fmt.Sprintf("%s (%s)", file, user)] = auth.Token
		}
	}
	return secrets, nil
}

// secretOf tells what is secret of a file; nothing of certificates and public keys is.
func secretOf(content []byte) (secret string, ok bool) {
	if block, _ := pem.Decode(content); block != nil {
		lines := strings.Split(strings.TrimSpace(string(content)), "\n")
		return lines[len(lines)/2], strings.HasSuffix(block.Type, "PRIVATE KEY")
	}
	secret = string(bytes.TrimSpace(content))
	return secret, !strings.Contains(secret, " ") // as host keys have
}
