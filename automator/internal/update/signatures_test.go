package update_test

import (
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/shared/signature"
)

// signers knows who signed which digest, once it was asked to check it.
type signers struct {
	mu         sync.Mutex
	checked    map[string]bool
	signed     map[string]bool
	generation uint64
	images     *images
}

func (s *signers) Signed(_ string, tag *policy.Tag, _ signature.Rules) policy.Signed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tag.Digest == "" || !s.checked[tag.Digest] {
		return policy.Signed{}
	}
	return policy.Signed{Checked: true, Kept: s.signed[tag.Digest], Reason: "nobody has signed it", By: []string{"key release"}}
}

// Check resolves tags as the scan does, and knows the rest at once.
func (s *signers) Check(repository string, tags []policy.Tag, _ signature.Rules) {
	for _, tag := range tags {
		if tag.Digest == "" {
			tag.Digest = digest(repository, tag.Name)
			s.images.know(repository, tag)
		}
		s.mu.Lock()
		s.checked[tag.Digest] = true
		s.generation++
		s.mu.Unlock()
	}
}

func (s *signers) Generation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation
}

func (s *signers) sign(digests ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range digests {
		s.signed[d] = true
	}
	s.generation++
}

// know records what a tag points to.
func (i *images) know(repository string, tag policy.Tag) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.known[repository+":"+tag.Name] = tag
}

// signedShop is the shop, whose api must be signed.
func signedShop(change map[string]string) map[string]string {
	files := shop()
	files[".tandem/shop.yaml"] = strings.Replace(files[".tandem/shop.yaml"], "repository: registry.test/acme/api}",
		"repository: registry.test/acme/api, verify: [{keys: [release]}]}", 1)
	maps.Copy(files, change)
	return files
}

// playSigned is play with signatures.
func playSigned(t *testing.T, files map[string]string, test func(s *scene, k *signers)) {
	t.Helper()
	k := &signers{checked: map[string]bool{}, signed: map[string]bool{}}
	playWith(t, files, func(s *scene) { k.images, s.signatures = s.images, k }, func(s *scene) { test(s, k) })
}

// settle wakes the loop until whatever it asked for has been answered.
func (s *scene) settle() {
	s.t.Helper()
	for range 5 {
		s.wake()
	}
}

// TestUnsignedIsHeldBack takes what is signed, and neither what is newer and not signed nor what waits to be checked.
func TestUnsignedIsHeldBack(t *testing.T) {
	playSigned(t, signedShop(nil), func(s *scene, k *signers) {
		k.sign(digest(api, "1.1.0"))
		s.release(api, "1.1.0", "1.2.0")
		s.settle()
		s.has(map[string]string{"env/dev/api.yaml": pinned(api, "1.1.0")})
		s.titled("shop: api 1.1.0 to dev")
		if _, _, history := s.at(); !strings.Contains(history[0].Message, "newer than 1.0.0; signed: key release") {
			t.Errorf("message: %s", history[0].Message)
		}
		// What is not signed keeps nothing else back, and is taken once it is.
		s.release(web, "1.1.0")
		s.has(map[string]string{"env/dev/web.yaml": pinned(web, "1.1.0")})
		k.sign(digest(api, "1.2.0"))
		s.settle()
		s.has(map[string]string{"env/dev/api.yaml": pinned(api, "1.2.0")})
	})
}

// TestVerifiedIsWritten writes the digest that was checked, although the tag points to something else by the time of writing.
func TestVerifiedIsWritten(t *testing.T) {
	checked := "sha256:" + strings.Repeat("c", 64)
	playSigned(t, signedShop(nil), func(s *scene, k *signers) {
		k.sign(checked)
		s.images.know(api, policy.Tag{Name: "1.1.0", Digest: checked})
		s.release(api, "1.1.0") // whoever asks now hears another digest
		s.settle()
		s.has(map[string]string{"env/dev/api.yaml": api + ":1.1.0@" + checked})
		// It moves to what nobody signed: that is not taken, and not what a pass asks the registry for either.
		s.images.know(api, policy.Tag{Name: "1.2.0", Digest: "sha256:" + strings.Repeat("d", 64)})
		s.release(api, "1.2.0")
		s.settle()
		s.titled("shop: api 1.1.0 to dev")
	})
}

// TestTagWithoutDigest gets its digest only once that is signed.
func TestTagWithoutDigest(t *testing.T) {
	playSigned(t, signedShop(map[string]string{"env/dev/api.yaml": manifest("api", api+":1.0.0")}), func(s *scene, k *signers) {
		s.settle()
		s.titled()
		k.sign(digest(api, "1.0.0"))
		s.settle()
		s.has(map[string]string{"env/dev/api.yaml": pinned(api, "1.0.0")})
	})
}

// TestUnsignedIsNotPromoted keeps what a person wrote out of the next environment, until it is signed.
func TestUnsignedIsNotPromoted(t *testing.T) {
	playSigned(t, signedShop(nil), func(s *scene, k *signers) {
		tip := s.person("by hand", map[string]string{"env/dev/api.yaml": manifest("api", pinned(api, "1.3.0"))})
		s.evidence.report("dev-eu", "env/dev", update.Report{Commit: tip})
		s.settle()
		s.has(map[string]string{"env/prod/api.yaml": pinned(api, "1.0.0")})
		if reasons := strings.Join(s.updater.Status().Pipelines[0].Environments[1].Reasons, " "); !strings.Contains(reasons, "may not be written: nobody has signed it") {
			t.Errorf("reasons: %q", reasons)
		}
		k.sign(digest(api, "1.3.0"))
		s.settle()
		s.has(map[string]string{"env/prod/api.yaml": pinned(api, "1.3.0")})
	})
}

// TestNothingChecks writes no image that has to be signed where nobody can tell.
func TestNothingChecks(t *testing.T) {
	play(t, signedShop(nil), func(s *scene) {
		s.release(api, "1.1.0")
		s.settle()
		s.titled()
	})
}
