// Package signed says which images of an object must be signed in this cluster, and whether one is.
//
// The rules belong to the cluster's administrator; neither Git, a Sync nor the automator can widen them. Pure: the bytes of
// signatures come from the caller, and it does not matter by which way: what counts is what the cluster's own keys have signed.
package signed

import (
	"errors"
	"fmt"

	"github.com/tandem-cd/tandem/shared/imageref"
	"github.com/tandem-cd/tandem/shared/signature"
)

// Limits on the configuration. They are far above what a person writes.
const (
	// MaxRules bounds the rules, and MaxPatterns the repositories of one.
	MaxRules    = 64
	MaxPatterns = 256
)

// Config says what must be signed, as the synchronizer's configuration says it.
type Config struct {
	// Signed are the rules. An image of a repository that several of them name keeps all of these; one that none names needs no
	// signature.
	Signed []Rule `yaml:"signed"`
	// Keys are public keys in PEM, by the name that rules call them.
	Keys map[string]string `yaml:"keys"`
	// TrustedRoot is a Sigstore trusted root, the text of trusted_root.json. Rules of identities need it.
	TrustedRoot string `yaml:"trustedRoot"`
}

// Rule demands a signature, or an attestation, of images.
type Rule struct {
	// Repositories are the ones that it is for: one, such as "ghcr.io/acme/web", everything below a name, such as
	// "ghcr.io/acme/*", or all: "*".
	Repositories []string `yaml:"repositories"`
	// Except are those of them that it is not for.
	Except []string `yaml:"except"`

	signature.Config `yaml:",inline"`
}

// Policy is a checked Config.
type Policy struct{ rules []rule }

type rule struct {
	text                 string // what it asks for, in words
	all                  bool
	repositories, except []imageref.Pattern
	verifier             *signature.Verifier
}

// NewPolicy checks a configuration, and returns every problem joined.
func NewPolicy(c Config) (*Policy, error) {
	if len(c.Signed) > MaxRules {
		return nil, fmt.Errorf("signed: %d rules are more than %d", len(c.Signed), MaxRules)
	}
	trust := signature.Trust{
		Keys: make(map[string][]byte, len(c.Keys)), Root: []byte(c.TrustedRoot),
		KeysAt: "images.keys of the synchronizer's configuration", RootAt: "images.trustedRoot of the synchronizer's configuration",
	}
	for name, key := range c.Keys {
		trust.Keys[name] = []byte(key)
	}
	p := &Policy{}
	var problems []error
	for i := range c.Signed {
		r, err := newRule(&c.Signed[i], trust)
		if err != nil {
			problems = append(problems, fmt.Errorf("signed[%d]: %w", i, err))
		}
		p.rules = append(p.rules, r)
	}
	return p, errors.Join(problems...)
}

func newRule(c *Rule, trust signature.Trust) (r rule, err error) {
	if len(c.Repositories) == 0 {
		return r, errors.New(`repositories is empty: name at least one, such as "ghcr.io/acme/*", or "*" for all`)
	}
	if r.repositories, r.all, err = patterns("repositories", c.Repositories); err != nil {
		return r, err
	}
	var nothing bool
	if r.except, nothing, err = patterns("except", c.Except); err != nil {
		return r, err
	}
	if nothing {
		return r, errors.New(`except: "*" leaves nothing that the rule is for; remove the rule`)
	}
	checked, err := signature.New(c.Config)
	if err != nil {
		return r, err
	}
	r.text = checked.String()
	r.verifier, err = signature.Rules{checked}.With(trust)
	return r, err
}

// patterns reads a list of repositories, and tells whether it has all.
func patterns(key string, texts []string) (list []imageref.Pattern, all bool, err error) {
	if len(texts) > MaxPatterns {
		return nil, false, fmt.Errorf("%s: %d are more than %d", key, len(texts), MaxPatterns)
	}
	for _, text := range texts {
		if text == "*" {
			all = true
			continue
		}
		pattern, err := imageref.ParsePattern(text)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", key, err)
		}
		list = append(list, pattern)
	}
	return list, all, nil
}

// Empty reports whether nothing must be signed.
func (p *Policy) Empty() bool { return len(p.rules) == 0 }

// Demands says in words what is asked for of the images of a repository; empty for nothing.
func (p *Policy) Demands(repository string) string {
	for i := range p.rules {
		if p.rules[i].concerns(repository) {
			return p.rules[i].text
		}
	}
	return ""
}

// Verify returns why an image is not signed as it must be, in one sentence; empty if it is.
func (p *Policy) Verify(image signature.Image, m signature.Material) string {
	for i := range p.rules {
		r := &p.rules[i]
		if !r.concerns(image.Repository) {
			continue
		}
		if verdict := r.verifier.Verify(image, m); !verdict.Kept {
			return verdict.Reason
		}
	}
	return ""
}

func (r *rule) concerns(repository string) bool {
	return (r.all || anyOf(r.repositories, repository)) && !anyOf(r.except, repository)
}

func anyOf(patterns []imageref.Pattern, repository string) bool {
	for _, pattern := range patterns {
		if pattern.Matches(repository) {
			return true
		}
	}
	return false
}
