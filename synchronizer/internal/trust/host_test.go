package trust

import (
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// A Git host signs with one key for everybody. Listed as an automation it bounds all of them, whatever author it lets them
// write into a commit; listed as nothing it counts for nobody.
func TestKeyOfAGitHost(t *testing.T) {
	t.Parallel()
	host := gpgKey("github", 0)
	listed := cast()
	listed.Automations = append(listed.Automations, Principal{
		Name: "github", Keys: []Keys{{Key: host.Public()}}, Images: []ImageRule{{Repository: "ghcr.io/acme/*"}},
	})
	app := gitobject.Person{Name: "tandem[bot]", Email: "1234+tandem[bot]@users.noreply.github.com", When: midnight.Add(time.Minute)}
	ann := gitobject.Person{Name: "ann", Email: "ann@example.com", When: midnight.Add(time.Minute)}
	for name, tc := range map[string]struct {
		reason string
		config Config
		author gitobject.Person
		set    map[string]string
		says   string // empty: believed
	}{
		"Image":         {"what it is listed for", listed, app, set("apps/web/deployment.yaml", version("1.1.0")), ""},
		"ImageOfAnyone": {"who the author is does not matter, so it can be anybody", listed, ann, set("apps/web/deployment.yaml", version("1.1.0")), ""},
		"More":          {"nothing but images, though a human stands there as the author", listed, ann, set(config, "a: b"), "github"},
		"OtherImage":    {"an image that is not listed", listed, app, set("apps/web/deployment.yaml", strings.Replace(manifest, "ghcr.io/acme/web", "ghcr.io/evil/web", 1)), "ghcr.io/evil/web"},
		"NotListed":     {"a key that nobody here has", cast(), app, set("apps/web/deployment.yaml", version("1.1.0")), "nobody here has"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(gitobject.SHA1, []change{{set: tc.set}})
			commit, err := gitobject.DecodeCommit(gitobject.SHA1, h.steps[0].Raw)
			if err != nil {
				t.Fatal(err)
			}
			commit.Author = tc.author
			commit.Committer = gitobject.Person{Name: "GitHub", Email: "noreply@github.com", When: midnight.Add(time.Minute)}
			commit.Signature = host.Sign(commit.SignedPayload(), host.PrivateKey, nil)
			raw := commit.Encode()
			h.steps[0] = Step{ID: h.store.Put(gitobject.TypeCommit, raw), Raw: raw}
			verdict, err := Verify(t.Context(), h.request(mustPolicy(t, tc.config)))
			switch {
			case err != nil:
				t.Fatal(err)
			case tc.says == "" && verdict.Refusal != nil:
				t.Errorf("%s: refused: %v", tc.reason, verdict.Refusal)
			case tc.says != "" && (verdict.Refusal == nil || !strings.Contains(verdict.Refusal.Reason, tc.says)):
				t.Errorf("%s: %v, want it refused with %q", tc.reason, verdict.Refusal, tc.says)
			}
		})
	}
}
