package trust

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// maxKeyText bounds what one principal's keys may take, in bytes.
const maxKeyText = 256 << 10

// Key is a public key, of SSH or of OpenPGP, and when it counts.
type Key struct {
	Public  ssh.PublicKey     // nil for one of OpenPGP
	GPG     *gitobject.GPGKey // nil for one of SSH
	Comment string
	From    time.Time // the first moment that counts; zero: always
	Until   time.Time // the first moment that does not count any more; zero: never
	Revoked bool      // nothing the key ever signed counts
}

// ParseKeys reads public keys, one a line, as authorized_keys ("ssh-ed25519
// AAAA... ann") or allowed_signers ("ann@example.com ssh-ed25519 AAAA...") have
// them. The names in allowed_signers mean nothing here. Its options
// valid-after, valid-before and namespaces are honoured, with times in UTC; any
// other option is refused, for ignoring it could make a key count for more than
// its owner meant. A text that is an armored block of OpenPGP holds those keys
// instead.
func ParseKeys(text string) ([]Key, error) {
	if len(text) > maxKeyText {
		return nil, fmt.Errorf("keys of %d bytes are more than %d", len(text), maxKeyText)
	}
	if strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN PGP") {
		return parseGPGKeys(text)
	}
	var keys []Key
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func parseGPGKeys(text string) ([]Key, error) {
	read, err := gitobject.ParseGPGKeys([]byte(text))
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(read, func(k gitobject.GPGKey) bool { return k.Signs }) {
		return nil, errors.New("none of the OpenPGP keys may sign")
	}
	keys := make([]Key, len(read))
	for i := range read {
		keys[i] = Key{GPG: &read[i], From: read[i].From, Until: read[i].Until, Revoked: read[i].Revoked}
	}
	return keys, nil
}

// wire tells one key from any other.
func (k *Key) wire() string {
	if k.GPG != nil {
		return gpgWire(k.GPG.Fingerprint)
	}
	return string(k.Public.Marshal())
}

func gpgWire(fingerprint string) string { return "OpenPGP " + fingerprint }

func parseKey(line string) (Key, error) {
	fields := splitFields(line)
	at := slices.IndexFunc(fields, isKeyType)
	if at < 0 || at > 2 || at+1 >= len(fields) {
		return Key{}, errors.New(`not a public key such as "ssh-ed25519 AAAA... ann"`)
	}
	public, err := parsePublic(fields[at], fields[at+1])
	if err != nil {
		return Key{}, err
	}
	key := Key{Public: public, Comment: strings.Join(fields[at+2:], " ")}
	for i, field := range fields[:at] {
		names := i == 0 && !strings.ContainsRune(field, '=') && !isCertAuthority(field)
		if names {
			continue
		}
		if err := key.setOptions(field); err != nil {
			return Key{}, err
		}
	}
	if !key.Until.IsZero() && !key.From.Before(key.Until) {
		return Key{}, errors.New("the key ends before it begins")
	}
	return key, nil
}

// isKeyType also matches keys that are not accepted, so that they get their
// own message.
func isKeyType(field string) bool {
	for _, prefix := range []string{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "rsa-sha2-"} {
		if strings.HasPrefix(field, prefix) {
			return true
		}
	}
	return false
}

func isCertAuthority(field string) bool { return strings.EqualFold(field, "cert-authority") }

func parsePublic(word, text string) (ssh.PublicKey, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("the key is not base64: %w", err)
	}
	public, err := ssh.ParsePublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("the key does not parse: %w", err)
	}
	if public.Type() != word {
		return nil, fmt.Errorf("the line says %q, the key says %q", word, public.Type())
	}
	return public, gitobject.CheckKey(public)
}

// splitFields splits at blanks outside double quotes.
func splitFields(line string) []string {
	quoted := false
	return strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t' || r == '\r')
	})
}
