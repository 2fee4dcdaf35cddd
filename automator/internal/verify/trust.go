package verify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"

	"go.uber.org/zap"

	"github.com/tandem-cd/tandem/shared/signature"
)

// Config says what is trusted.
type Config struct {
	// Keys are files with public keys in PEM, such as cosign.pub, by the name that pipelines call them.
	Keys map[string]string `yaml:"keys"`
	// TrustedRootFile is a Sigstore trusted root, such as trusted_root.json: the certificate authorities, transparency logs
	// and timestamp authorities that identities are believed by.
	TrustedRootFile string `yaml:"trustedRootFile"`
}

// maxRootBytes bounds a trusted root.
const maxRootBytes = 4 << 20

var keyName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Validate returns every problem joined.
func (c *Config) Validate() error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(c.Keys)) {
		if !keyName.MatchString(name) {
			problems = append(problems, fmt.Errorf(`keys: %.80q is no name; use at most 63 lower case letters, digits and "-"`, name))
		}
		if c.Keys[name] == "" {
			problems = append(problems, fmt.Errorf("keys.%s names no file", name))
		}
	}
	return errors.Join(problems...)
}

// trust is what the files had, and what was wrong with them.
type trust struct {
	signature.Trust

	problem error
}

// Where it is configured what is trusted, for messages.
const (
	keysAt = "verification.keys of the automator's configuration"
	rootAt = "verification.trustedRootFile of the automator's configuration"
)

// load reads the files. What cannot be read is not trusted.
func (c *Config) load() trust {
	t := trust{Trust: signature.Trust{
		Keys: map[string][]byte{}, KeysAt: keysAt, RootAt: rootAt,
	}}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(c.Keys)) {
		text, err := read(c.Keys[name], signature.MaxKey)
		if err != nil {
			problems = append(problems, fmt.Errorf("verification.keys.%s: %w", name, err))
			continue
		}
		t.Keys[name] = text
	}
	if c.TrustedRootFile != "" {
		var err error
		if t.Root, err = read(c.TrustedRootFile, maxRootBytes); err != nil {
			problems = append(problems, fmt.Errorf("verification.trustedRootFile: %w", err))
		}
	}
	t.problem = errors.Join(problems...)
	return t
}

// read returns a file of at most so many bytes.
func read(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return text, err
}

// same tells whether another reading brought the same.
func (t *trust) same(other *trust) bool {
	return bytes.Equal(t.Root, other.Root) && maps.EqualFunc(t.Keys, other.Keys, bytes.Equal) && fmt.Sprint(t.problem) == fmt.Sprint(other.problem)
}

// bound is what checks by some rules, or why nothing can.
type bound struct {
	verifier *signature.Verifier
	err      error
}

// maxRules bounds the rules whose verifiers are kept; beyond it they are made anew.
const maxRules = 1000

// verifier returns what checks by rules and what is trusted now. The lock is held.
func (c *Checker) verifier(rules signature.Rules) (*signature.Verifier, error) {
	id := rules.ID()
	known, ok := c.verifiers[id]
	if !ok {
		known.verifier, known.err = rules.With(c.trust.Trust)
		if known.err != nil && c.trust.problem != nil {
			known.err = fmt.Errorf("%w (%w)", known.err, c.trust.problem)
		}
		if len(c.verifiers) >= maxRules {
			clear(c.verifiers)
		}
		c.verifiers[id] = known
	}
	return known.verifier, known.err
}

// reload reads the files, and begins anew if they changed.
func (c *Checker) reload() {
	fresh := c.cfg.load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trust.same(&fresh) {
		return
	}
	if fresh.problem != nil {
		c.deps.Log.Warn("what signatures are checked by cannot be read", zap.Error(fresh.problem))
	} else {
		c.deps.Log.Info("what signatures are checked by has changed")
	}
	c.trust = fresh
	clear(c.verifiers)
	for k, known := range c.checks {
		if !known.running && !known.verdict.Kept {
			c.forget(k)
		}
	}
	c.generation++
	c.deps.Changed()
}
