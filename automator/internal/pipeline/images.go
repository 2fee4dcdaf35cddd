package pipeline

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/shared/imageref"
)

// policyKeys are the keys of a policy: how tags are ordered, then what goes with some of these.
func policyKeys() []string {
	return append(policy.Schemes(), "match", "extract", "preReleases", "precision", "downgrade")
}

func (r *reader) image(n *yaml.Node) Image {
	image := Image{Line: n.Line}
	m, ok := r.mapping(n, "an image", "name", "repository", "policy", "allow", "deny", "platform", "minAge", "hold", "verify")
	if !ok {
		return image
	}
	image.Name = m.name("name", "api")
	image.Repository = m.repository()
	image.Policy = m.policy()
	image.Verify = m.verify()
	return image
}

func (m mapping) repository() imageref.Reference {
	text, n := m.text("repository", "ghcr.io/acme/api")
	if n == nil {
		return imageref.Reference{}
	}
	ref, err := imageref.Parse(text)
	switch {
	case err != nil:
		m.atf(n, "%v", err)
	case ref.Tag != "" || ref.Digest != "":
		m.atf(n, "repository %s has a tag or a digest; the policy chooses these: write the name alone", quote(text))
	}
	return ref
}

// policy reads what an image says of its tags, and reports each fault at the key that has it.
func (m mapping) policy() policy.Policy {
	rules := mapping{reader: m.reader}
	if n, found := m.values["policy"]; found {
		var ok bool
		if rules, ok = m.mapping(n, "a policy", policyKeys()...); !ok {
			return policy.Policy{}
		}
		if len(n.Content) == 0 {
			m.atf(n, "the policy is empty; add one of %s, or remove the key to take the newest version", strings.Join(policy.Schemes(), ", "))
		}
	}
	config := policy.Config{
		Semver: rules.optional("semver"), Newest: rules.word("newest", "created", "pushed"),
		Numeric: rules.word("numeric", "asc", "desc"), Lexical: rules.word("lexical", "asc", "desc"), Calver: rules.optional("calver"), Follow: rules.optional("follow"), Pin: rules.optional("pin"),
		Match: rules.optional("match"), Extract: rules.optional("extract"), Precision: rules.word("precision", "keep", "any"),
		PreReleases: rules.flag("preReleases"), Downgrade: rules.flag("downgrade"),
		Platform: m.optional("platform"), MinAge: m.optional("minAge"), Hold: m.optional("hold"),
	}
	var allow, deny []*yaml.Node
	config.Allow, allow = m.texts("allow", "")
	config.Deny, deny = m.texts("deny", "")
	p, err := policy.New(config)
	faults, _ := errors.AsType[policy.Faults](err)
	for _, fault := range faults {
		at := m.at(rules, fault)
		switch {
		case fault.Key == "allow" && fault.Index < len(allow):
			at = allow[fault.Index]
		case fault.Key == "deny" && fault.Index < len(deny):
			at = deny[fault.Index]
		}
		if at == nil {
			at = m.node
		}
		m.atf(at, "%s: %s", fault.Key, fault.Message)
	}
	return p
}

// at returns the value that a fault is about; nil if it is not there.
func (m mapping) at(rules mapping, fault policy.Fault) *yaml.Node {
	if n := rules.values[fault.Key]; n != nil {
		return n
	}
	return m.values[fault.Key]
}

// optional returns a string that may be absent.
func (m mapping) optional(key string) string {
	text, _ := m.text(key, "")
	return text
}

// word returns a string that may be absent, and names the words there are if it is something else; which of them it is
// checks whoever knows what they mean.
func (m mapping) word(key string, words ...string) string {
	n, found := m.values[key]
	if found && (n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str") {
		m.atf(n, "%s is %s; write one of %s", key, describe(n), strings.Join(words, ", "))
		return ""
	}
	return m.optional(key)
}

// flag returns true or false; absent is false.
func (m mapping) flag(key string) bool {
	n, found := m.values[key]
	if !found {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		m.atf(n, "%s is %s; write true or false", key, describe(n))
		return false
	}
	var value bool
	return n.Decode(&value) == nil && value
}
