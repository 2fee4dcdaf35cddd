package story

import (
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tandem-cd/tandem/integration/env/registry"
)

// sign signs a pushed image with the key of somebody: as a tag, as a bundle, or as an attestation of a predicate type.
func sign(s *Teller, _ *testscript.TestScript, args []string) error {
	pushed, found := s.pushed[args[0]]
	if !found {
		return fmt.Errorf("%s was not pushed", args[0])
	}
	key, err := s.key(args[1])
	if err != nil {
		return err
	}
	form := append(args, "tag")[2]
	switch {
	case form == "tag":
		return s.World.Registry.Sign(s.ctx, repo, pushed, key)
	case form == "bundle":
		return s.World.Registry.Attest(s.ctx, repo, pushed, registry.SignaturePredicate, key)
	case strings.Contains(form, "://"):
		return s.World.Registry.Attest(s.ctx, repo, pushed, form, key)
	}
	return fmt.Errorf("%q is neither tag, bundle nor a predicate type", form)
}

// key returns the key of somebody who signs images, and makes it first if need be.
func (s *Teller) key(who string) (registry.Key, error) {
	if key, found := s.keys[who]; found {
		return key, nil
	}
	key, err := registry.NewKey()
	if err == nil {
		s.keys[who] = key
	}
	return key, err
}

// keyPlaces replaces "${KEY_who}" by the public key of somebody, as YAML takes it in double quotes.
func (s *Teller) keyPlaces(text string) string {
	const mark = "${KEY_"
	for at := strings.Index(text, mark); at >= 0; at = strings.Index(text, mark) {
		who, _, _ := strings.Cut(text[at+len(mark):], "}")
		key, err := s.key(who)
		public := ""
		if err == nil {
			public, err = key.Public()
		}
		if err != nil {
			return err.Error() // which no file can be read with
		}
		text = strings.ReplaceAll(text, mark+who+"}", fmt.Sprintf("%q", public))
	}
	return text
}
