package signature

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/tandem-cd/tandem/shared/imageref"
)

// Limits on rules. They are far above what a person writes.
const (
	// MaxRules bounds the rules of an image.
	MaxRules = 8
	// MaxSigners bounds the keys of a rule, and its identities.
	MaxSigners = 16
	// MaxText bounds a name, an identity or a pattern, in bytes.
	MaxText = 1024
	// MaxKey bounds a public key in PEM, in bytes.
	MaxKey = 16 << 10
)

// Config is a rule as it is written in a pipeline file or in a cluster's configuration. It has keys or identities.
type Config struct {
	// Attestation is the predicate type of an attestation; empty asks for a signature.
	Attestation string `json:"attestation,omitempty" yaml:"attestation"`
	// Keys are public keys, any of which will do: in PEM, or the name of one that the configuration has.
	Keys []string `json:"keys,omitempty" yaml:"keys"`
	// Identities are those of certificates, any of which will do.
	Identities []Identity `json:"identities,omitempty" yaml:"identities"`
	// Log asks for an entry in a transparency log also where a key has signed.
	Log bool `json:"log,omitempty" yaml:"log"`
	// SignedAs are other repositories that a signature may name instead of the image's own, such as the one that it was
	// copied from.
	SignedAs []string `json:"signedAs,omitempty" yaml:"signedAs"`
}

// Identity is who a certificate says has signed: an issuer of identities, and whom it has identified. Each is written whole
// or as a pattern that must match all of it.
type Identity struct {
	Issuer         string `json:"issuer,omitempty" yaml:"issuer"`
	IssuerPattern  string `json:"issuerPattern,omitempty" yaml:"issuerPattern"`
	Subject        string `json:"subject,omitempty" yaml:"subject"`
	SubjectPattern string `json:"subjectPattern,omitempty" yaml:"subjectPattern"`
}

// String returns the identity as "subject (issuer)".
func (i Identity) String() string {
	return fmt.Sprintf("%s (%s)", i.Subject+i.SubjectPattern, i.Issuer+i.IssuerPattern)
}

// Fault is what is wrong with one part of a [Config].
type Fault struct {
	// Key is the part as a pipeline file calls it, and Index counts its items.
	Key   string
	Index int
	// Message says what is wrong and what to write.
	Message string
}

// Faults are all that is wrong with a [Config].
type Faults []Fault //nolint:errname // people read them, and New names the type

// Error returns one fault on each line.
func (f Faults) Error() string {
	lines := make([]string, 0, len(f))
	for _, fault := range f {
		lines = append(lines, fault.Key+": "+fault.Message)
	}
	return strings.Join(lines, "\n")
}

func (f *Faults) addf(key string, index int, format string, args ...any) {
	*f = append(*f, Fault{Key: key, Index: index, Message: fmt.Sprintf(format, args...)})
}

// Rule is a checked [Config].
type Rule struct {
	config     Config
	identities []verify.CertificateIdentity
}

// Rules are all rules of an image. None of them asks for nothing.
type Rules []Rule

// New checks a rule. The error is of type [Faults].
func New(c Config) (Rule, error) {
	var faults Faults
	switch {
	case len(c.Keys) == 0 && len(c.Identities) == 0:
		faults.addf("keys", 0, "nobody is named who must have signed; add keys or identities")
	case len(c.Keys) > 0 && len(c.Identities) > 0:
		faults.addf("identities", 0, "there are keys already; a rule has keys or identities, and all rules must be kept")
	case len(c.Keys) > MaxSigners:
		faults.addf("keys", MaxSigners, "more than %d keys", MaxSigners)
	case len(c.Identities) > MaxSigners:
		faults.addf("identities", MaxSigners, "more than %d identities", MaxSigners)
	}
	if c.Log && len(c.Identities) > 0 {
		faults.addf("log", 0, "has no meaning with identities: what the trusted root has is always asked for")
	}
	if c.Attestation == signaturePredicate || len(c.Attestation) > MaxText {
		faults.addf("attestation", 0, "%.60q is no predicate type; leave the key out to ask for a signature", c.Attestation)
	}
	r := Rule{config: c}
	for i, key := range c.Keys {
		checkKey(i, key, &faults)
	}
	for i, identity := range c.Identities {
		r.identities = append(r.identities, newIdentity(i, identity, &faults))
	}
	r.config.SignedAs = nil
	for i, name := range c.SignedAs {
		ref, err := imageref.Parse(name)
		if err != nil || ref.Tag != "" || ref.Digest != "" {
			faults.addf("signedAs", i, "%.100q is not a repository such as ghcr.io/acme/api", name)
		}
		r.config.SignedAs = append(r.config.SignedAs, ref.Name())
	}
	if len(faults) > 0 {
		return Rule{}, faults
	}
	return r, nil
}

var keyName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

const pemStart = "-----BEGIN"

func checkKey(index int, key string, faults *Faults) {
	if !strings.HasPrefix(key, pemStart) {
		if !keyName.MatchString(key) {
			faults.addf("keys", index, "%.60q is neither a public key in PEM nor the name of one", key)
		}
		return
	}
	if _, err := parseKey([]byte(key)); err != nil {
		faults.addf("keys", index, "%v", err)
	}
}

func newIdentity(index int, i Identity, faults *Faults) verify.CertificateIdentity {
	before := len(*faults)
	issuer := checkIdentity(index, "issuer", i.Issuer, i.IssuerPattern, faults)
	subject := checkIdentity(index, "subject", i.Subject, i.SubjectPattern, faults)
	if len(*faults) > before {
		return verify.CertificateIdentity{}
	}
	identity, err := verify.NewShortCertificateIdentity(i.Issuer, issuer, i.Subject, subject)
	if err != nil {
		faults.addf("identities", index, "%v", err)
	}
	return identity
}

// checkIdentity returns an expression that matches the whole of what a pattern does; empty for none.
func checkIdentity(index int, what, exact, pattern string, faults *Faults) string {
	switch {
	case exact == "" && pattern == "":
		faults.addf("identities", index, "there is no %s; add it, or %sPattern", what, what)
		return ""
	case exact != "" && pattern != "":
		faults.addf("identities", index, "there are both %s and %sPattern; remove one", what, what)
		return ""
	case len(exact)+len(pattern) > MaxText:
		faults.addf("identities", index, "%s is longer than %d bytes", what, MaxText)
		return ""
	case exact != "":
		return ""
	}
	expression, err := regexp.Compile(pattern)
	if err != nil {
		faults.addf("identities", index, "%sPattern: %v", what, err)
		return ""
	}
	if expression.MatchString("") {
		faults.addf("identities", index, "%sPattern %.60q matches nothing at all too, and so anybody; say more", what, pattern)
	}
	return `\A(?:` + pattern + `)\z`
}

// String returns the rule in words, such as "signature by key release".
func (r Rule) String() string {
	var signers []string
	for _, key := range r.config.Keys {
		signers = append(signers, keyText(key))
	}
	for _, identity := range r.config.Identities {
		signers = append(signers, identity.String())
	}
	return r.kind() + " by " + strings.Join(signers, " or ")
}

// kind is what the rule asks for.
func (r Rule) kind() string {
	if r.config.Attestation == "" {
		return "signature"
	}
	return "attestation " + r.config.Attestation
}

// String returns all rules in words.
func (rs Rules) String() string {
	words := make([]string, 0, len(rs))
	for _, r := range rs {
		words = append(words, r.String())
	}
	return strings.Join(words, ", ")
}

// ID tells rules apart: it is the same for those that ask for the same.
func (rs Rules) ID() string {
	configs := make([]Config, 0, len(rs))
	for _, r := range rs {
		configs = append(configs, r.config)
	}
	text, err := json.Marshal(configs)
	if err != nil {
		panic(fmt.Sprintf("rules of texts do not marshal: %v", err))
	}
	return string(text)
}
