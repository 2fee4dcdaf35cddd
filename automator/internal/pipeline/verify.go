package pipeline

import (
	"errors"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-cd/tandem/shared/signature"
)

// verify reads by whom an image must be signed, and reports each fault at the key that has it.
func (m mapping) verify() signature.Rules {
	var rules signature.Rules
	for _, n := range m.listOf("verify", "", signature.MaxRules) {
		item, ok := m.mapping(n, "an item of verify", "attestation", "keys", "identities", "log", "signedAs")
		if !ok {
			continue
		}
		if rule, ok := item.rule(); ok {
			rules = append(rules, rule)
		}
	}
	return rules
}

func (m mapping) rule() (signature.Rule, bool) {
	before := len(m.problems)
	config := signature.Config{Attestation: m.optional("attestation"), Log: m.flag("log")}
	nodes := map[string][]*yaml.Node{}
	config.Keys, nodes["keys"] = m.texts("keys", "")
	config.SignedAs, nodes["signedAs"] = m.texts("signedAs", "")
	for _, n := range m.list("identities", "") {
		if i, ok := m.mapping(n, "an identity", "issuer", "issuerPattern", "subject", "subjectPattern"); ok {
			config.Identities = append(config.Identities, signature.Identity{
				Issuer: i.optional("issuer"), IssuerPattern: i.optional("issuerPattern"),
				Subject: i.optional("subject"), SubjectPattern: i.optional("subjectPattern"),
			})
			nodes["identities"] = append(nodes["identities"], n)
		}
	}
	if len(m.problems) > before {
		return signature.Rule{}, false
	}
	rule, err := signature.New(config)
	faults, _ := errors.AsType[signature.Faults](err)
	for _, fault := range faults {
		at := m.node
		if whole := m.values[fault.Key]; whole != nil {
			at = whole
		}
		if items := nodes[fault.Key]; fault.Index < len(items) {
			at = items[fault.Index]
		}
		m.atf(at, "%s: %s", fault.Key, fault.Message)
	}
	return rule, err == nil
}

// Refusal is why an image's digest may not be written.
type Refusal struct {
	// Image is its name in the pipeline.
	Image, Digest string
	Reason        string
}

// refused says why a digest may not be written; empty if it may.
func (in *Input) refused(image, digest string) string {
	i := slices.IndexFunc(in.Refusals, func(r Refusal) bool { return r.Image == image && r.Digest == digest })
	if i < 0 {
		return ""
	}
	return in.Refusals[i].Reason
}
