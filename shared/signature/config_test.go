package signature_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/shared/signature"
	"github.com/tandem-cd/tandem/shared/signature/signaturetest"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	key := signaturetest.ECDSA(t).Public
	who := signature.Identity{Issuer: "https://issuer.example.com", Subject: "a@example.com"}
	pattern := func(p string) signature.Config {
		return signature.Config{Identities: []signature.Identity{{Issuer: who.Issuer, SubjectPattern: p}}}
	}
	cases := map[string]struct {
		config signature.Config
		key    string // the part that has the fault
	}{
		"Nobody":              {signature.Config{}, "keys"},
		"Both":                {signature.Config{Keys: []string{key}, Identities: []signature.Identity{who}}, "identities"},
		"NoKey":               {signature.Config{Keys: []string{"Not A Name"}}, "keys"},
		"PrivateKey":          {signature.Config{Keys: []string{strings.ReplaceAll(key, "PUBLIC", "PRIVATE")}}, "keys"},
		"TwoKeysInOne":        {signature.Config{Keys: []string{key + key}}, "keys"},
		"LongKey":             {signature.Config{Keys: []string{key + strings.Repeat("\n", signature.MaxKey)}}, "keys"},
		"ManyKeys":            {signature.Config{Keys: make([]string, signature.MaxSigners+1)}, "keys"},
		"NoIssuer":            {signature.Config{Identities: []signature.Identity{{Subject: "a"}}}, "identities"},
		"SubjectAndPattern":   {signature.Config{Identities: []signature.Identity{{Issuer: "i", Subject: "a", SubjectPattern: "a"}}}, "identities"},
		"BadPattern":          {pattern("("), "identities"},
		"UnbalancedPattern":   {pattern("a)|(?:b"), "identities"},
		"Anybody":             {pattern(".*"), "identities"},
		"AnybodyInDisguise":   {pattern("^https://github.com/acme/.*|"), "identities"},
		"LongPattern":         {pattern(strings.Repeat("a", signature.MaxText+1)), "identities"},
		"LogOfIdentity":       {signature.Config{Identities: []signature.Identity{who}, Log: true}, "log"},
		"SignatureAsAttest":   {signature.Config{Keys: []string{key}, Attestation: signaturetest.SignaturePredicate}, "attestation"},
		"SignedAsWithTag":     {signature.Config{Keys: []string{key}, SignedAs: []string{"ghcr.io/acme/api:1"}}, "signedAs"},
		"SignedAsNoReference": {signature.Config{Keys: []string{key}, SignedAs: []string{"::"}}, "signedAs"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := signature.New(tc.config)
			faults, _ := errors.AsType[signature.Faults](err)
			if len(faults) == 0 || faults[0].Key != tc.key {
				t.Errorf("New(...): %v, want a fault of %s", err, tc.key)
			}
		})
	}
}

func TestWithRefuses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		config signature.Config
		trust  signature.Trust
		want   string
	}{
		"NoSuchKey": {signature.Config{Keys: []string{"release"}}, signature.Trust{KeysAt: "verification.keys"}, `key "release" is not in verification.keys`},
		"NoKey":     {signature.Config{Keys: []string{"release"}}, signature.Trust{Keys: map[string][]byte{"release": []byte("x")}}, "not a public key in PEM"},
		"NoRoot":    {signature.Config{Identities: []signature.Identity{{Issuer: "i", Subject: "s"}}}, signature.Trust{RootAt: "trustedRootFile"}, "no trusted root: set trustedRootFile"},
		"BadRoot":   {signature.Config{Identities: []signature.Identity{{Issuer: "i", Subject: "s"}}}, signature.Trust{Root: []byte("{}")}, "cannot be read"},
		"EmptyRoot": {
			signature.Config{Identities: []signature.Identity{{Issuer: "i", Subject: "s"}}},
			signature.Trust{Root: []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)},
			"no certificate authority",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rule, err := signature.New(tc.config)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := (signature.Rules{rule}).With(tc.trust); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("With(...): %v, want %q", err, tc.want)
			}
		})
	}
}
