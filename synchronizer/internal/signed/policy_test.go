package signed_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/signature/signaturetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/signed"
)

// keyed is a rule that asks for a signature by a key.
func keyed(key string, repositories ...string) signed.Rule {
	return signed.Rule{Repositories: repositories, Config: signature.Config{Keys: []string{key}}}
}

func policyOf(t testing.TB, keys map[string]string, rules ...signed.Rule) *signed.Policy {
	t.Helper()
	policy, err := signed.NewPolicy(signed.Config{Keys: keys, Signed: rules})
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

func TestEveryRuleThatConcernsAnImageIsKept(t *testing.T) {
	t.Parallel()
	release, build := signaturetest.ECDSA(t), signaturetest.Ed25519(t)
	keys := map[string]string{"release": release.Public, "build": build.Public}
	excepted := keyed("release", "*")
	excepted.Except = []string{"registry.k8s.io/*"}
	attested := keyed("build", "ghcr.io/acme/api")
	attested.Attestation = "https://slsa.dev/provenance/v1"
	policy := policyOf(t, keys, excepted, attested)
	image := func(repository string) signature.Image {
		return signature.Image{Repository: repository, Digest: signaturetest.Digest("1.0.0")}
	}
	api, web := image("ghcr.io/acme/api"), image("ghcr.io/acme/web")
	byRelease := func(i signature.Image) signature.Item { return release.Simple(signaturetest.Payload(i)) }
	byBuild := build.Bundle(signaturetest.Statement(api, "https://slsa.dev/provenance/v1", "{}"))
	cases := map[string]struct {
		reason string
		image  signature.Image
		items  []signature.Item
		want   string // part of why it is not; empty if it is
	}{
		"Signed":      {"One rule concerns it.", web, []signature.Item{byRelease(web)}, ""},
		"Unsigned":    {"Nobody signed it.", web, nil, "no signature by key release"},
		"Both":        {"Two rules concern it.", api, []signature.Item{byRelease(api), byBuild}, ""},
		"OnlyOne":     {"One of two rules is not kept.", api, []signature.Item{byRelease(api)}, "no attestation https://slsa.dev/provenance/v1"},
		"OtherImage":  {"A signature of another image is none of this.", web, []signature.Item{byRelease(api)}, "no signature"},
		"Excepted":    {"No rule concerns it.", image("registry.k8s.io/pause"), nil, ""},
		"OtherDigest": {"The digest counts.", signature.Image{Repository: web.Repository, Digest: signaturetest.Digest("other")}, []signature.Item{byRelease(web)}, "and not this image"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := policy.Verify(tc.image, signature.Material{Items: tc.items})
			if !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
				t.Errorf("%s\nVerify(%v): got %q, want %q", tc.reason, tc.image, got, tc.want)
			}
		})
	}
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	sigstore := signaturetest.NewSigstore(t)
	who := signed.Rule{Repositories: []string{"ghcr.io/acme/*"}, Config: signature.Config{Identities: []signature.Identity{{Issuer: signaturetest.Issuer, SubjectPattern: "https://github[.]com/acme/.+"}}}}
	root := string(sigstore.Root(signaturetest.Parts{Log: true}).Root)
	policy, err := signed.NewPolicy(signed.Config{Signed: []signed.Rule{who}, TrustedRoot: root})
	if err != nil {
		t.Fatal(err)
	}
	image := signature.Image{Repository: "ghcr.io/acme/web", Digest: signaturetest.Digest("1.0.0")}
	statement := signaturetest.Statement(image, signaturetest.SignaturePredicate, "{}")
	ours, _ := sigstore.Attest(statement)
	theirs, _ := signaturetest.NewSigstore(t).Attest(statement)
	older := sigstore.Simple(time.Now().Add(5*time.Minute), signaturetest.Payload(image))
	for name, item := range map[string]signature.Item{"bundle": ours, "older form": older} {
		if got := policy.Verify(image, signature.Material{Items: []signature.Item{theirs, item}}); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := policy.Verify(image, signature.Material{Items: []signature.Item{theirs}}); got == "" {
		t.Error("an identity of another authority counts")
	}
}

func TestRefusedConfigurations(t *testing.T) {
	t.Parallel()
	key := signaturetest.ECDSA(t).Public
	many := make([]string, signed.MaxPatterns+1)
	identity := signed.Rule{Repositories: []string{"*"}, Config: signature.Config{Identities: []signature.Identity{{Issuer: "https://issuer", Subject: "ada"}}}}
	everything := keyed(key, "*")
	everything.Except = []string{"*"}
	cases := map[string]struct {
		rules []signed.Rule
		want  string
	}{
		"NoRepository":  {[]signed.Rule{keyed(key)}, "signed[0]: repositories is empty"},
		"Version":       {[]signed.Rule{keyed(key, "ghcr.io/acme/web:1")}, "names a version"},
		"Pattern":       {[]signed.Rule{keyed(key, "*/web")}, "signed[0]: repositories"},
		"Nobody":        {[]signed.Rule{{Repositories: []string{"*"}}}, "nobody is named"},
		"UnknownKey":    {[]signed.Rule{keyed(key, "*"), keyed("release", "*")}, `signed[1]: key "release" is not in images.keys`},
		"NoRoot":        {[]signed.Rule{identity}, "images.trustedRoot"},
		"NothingIsLeft": {[]signed.Rule{everything}, "leaves nothing"},
		"ManyRules":     {make([]signed.Rule, signed.MaxRules+1), "more than"},
		"ManyPatterns":  {[]signed.Rule{keyed(key, many...)}, "more than"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := signed.NewPolicy(signed.Config{Signed: tc.rules})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("NewPolicy(...): got %v, want %q", err, tc.want)
			}
		})
	}
}
