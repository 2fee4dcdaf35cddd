package trust

import (
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

var update = flag.Bool("update", false, "rewrite the goldens")

const (
	web    = "apps/web/deployment.yaml"
	config = "apps/web/config.yaml"
	docs   = "docs/README.md"
)

func set(path, content string) map[string]string { return map[string]string{path: content} }

// want is a verdict in terms of a history.
type want struct {
	Verified int // index of the last verified commit; -1 is the base
	Refused  bool
	Counts   Counts
	Signers  []string
}

type verifyCase struct {
	reason  string
	changes []change
	request func(h *history, r *Request) // what is asked otherwise
	want    want
}

// Blob stands in for content that nobody reads.
func entry(mode gitobject.Mode) map[string]gitobject.Entry {
	id, err := gitobject.Hash(gitobject.SHA1, gitobject.TypeBlob, []byte(manifest))
	if err != nil {
		panic(err)
	}
	return map[string]gitobject.Entry{web: {Mode: mode, ID: id}}
}

func verifyCases() map[string]verifyCase {
	return map[string]verifyCase{
		"NothingNew": {
			"no commits, no news", nil, nil,
			want{Verified: -1},
		},
		"Untouched": {
			"who changes nothing that was granted needs no signature",
			[]change{{set: set(docs, "1")}, {by: "eve", set: set(docs, "2")}},
			nil,
			want{Verified: 1, Counts: Counts{Untouched: 2}},
		},
		"Human": {
			"a human changes anything",
			[]change{{by: "ann", set: set("apps/new.yaml", "a: b"), remove: []string{config}}},
			nil,
			want{Verified: 0, Counts: Counts{Human: 1}, Signers: []string{"ann"}},
		},
		"HumanInside": {
			"within its paths",
			[]change{{by: "ben", set: set(config, "a: b")}},
			nil,
			want{Verified: 0, Counts: Counts{Human: 1}, Signers: []string{"ben"}},
		},
		"HumanOutside": {
			"and not beside them",
			[]change{{by: "ben", set: map[string]string{config: "a: b", "apps/other.yaml": "a: b"}}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"HumanBesideTheGrant": {
			"what was not granted is nobody's business here",
			[]change{{by: "ben", set: map[string]string{config: "a: b", docs: "1"}}},
			nil,
			want{Verified: 0, Counts: Counts{Human: 1}, Signers: []string{"ben"}},
		},
		"Merge": {
			"a human's merge vouches for what it merges",
			[]change{
				{by: "", set: set(config, "a: b"), parents: []int{-1}},
				{by: "ann", set: set(config, "a: b"), parents: []int{-1, 0}},
			},
			func(h *history, r *Request) { r.Steps = h.steps[1:] },
			want{Verified: 1, Counts: Counts{Human: 1}, Signers: []string{"ann"}},
		},
		"Image": {
			"an automation brings another version",
			[]change{{by: "renovate", set: set(web, version("1.0.1"))}},
			nil,
			want{Verified: 0, Counts: Counts{Automation: 1}, Signers: []string{"renovate"}},
		},
		"ImageWithDigest": {
			"or a digest",
			[]change{{by: "renovate", set: set(web, version("2@sha256:"+strings.Repeat("0a", 32)))}},
			nil,
			want{Verified: 0, Counts: Counts{Automation: 1}, Signers: []string{"renovate"}},
		},
		"ImageAllowed": {
			"an automation with a list brings what is on it",
			[]change{
				{by: "bot", set: set(web, strings.Replace(manifest, "acme/web", "acme/other", 1))},
				{by: "bot", set: set(web, strings.Replace(manifest, "ghcr.io/acme/web", "nginx", 1))},
			},
			nil,
			want{Verified: 1, Counts: Counts{Automation: 2}, Signers: []string{"bot"}},
		},
		"ImageOfAnother": {
			"another repository is no other version",
			[]change{{by: "renovate", set: set(web, strings.Replace(manifest, "acme/web", "acme/other", 1))}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"ImageNotOnTheList": {
			"a name that begins alike is another name",
			[]change{{by: "bot", set: set(web, strings.Replace(manifest, "acme/web", "acme-evil/web", 1))}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"ImageElsewhere": {
			"a rule for a path holds there",
			[]change{{by: "bot", set: set("apps/api/deployment.yaml",
				strings.NewReplacer("ghcr.io/acme/web", "nginx", "web", "api").Replace(manifest))}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AutomationOtherLine": {
			"an automation changes nothing but images",
			[]change{{by: "renovate", set: set(web, strings.Replace(version("1.0.1"), "replicas: 2", "replicas: 9", 1))}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AutomationNoImage": {
			"what is called image elsewhere is none",
			[]change{{by: "renovate", set: set(config, "kind: ConfigMap\ndata:\n  image: ghcr.io/acme/web:1.0.1\n")}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AutomationAdds": {
			"it adds no file",
			[]change{{by: "renovate", set: set("apps/new.yaml", manifest)}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AutomationRemoves": {
			"it removes no file",
			[]change{{by: "renovate", remove: []string{web}}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AutomationRenames": {
			"it renames no file",
			[]change{{by: "renovate", remove: []string{web}, set: set("apps/web/d.yaml", manifest)}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AutomationMode": {
			"it changes no mode",
			[]change{{by: "renovate", entries: entry(gitobject.ModeExec)}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AutomationLink": {
			"it makes no links",
			[]change{{by: "renovate", entries: entry(gitobject.ModeSymlink)}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AutomationSubmodule": {
			"it makes no submodules",
			[]change{{by: "renovate", entries: entry(gitobject.ModeGitlink)}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AutomationPointer": {
			"it does not move content to Git LFS",
			[]change{{by: "renovate", set: set(web, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AutomationOutside": {
			"it stays within its paths, too",
			[]change{{by: "bot", set: set(docs, "1")}},
			func(_ *history, r *Request) { r.Paths = nil },
			want{Verified: -1, Refused: true},
		},
		"Unsigned": {
			"nobody stands behind it",
			[]change{{set: set(web, strings.Replace(manifest, "replicas: 2", "replicas: 3", 1))}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"UnsignedFolder": {
			"also when it is in the way as a whole",
			[]change{{remove: []string{web, config}}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"UnknownKey": {
			"a key that nobody has",
			[]change{{by: "mallory", set: set(config, "1")}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"Revoked": {
			"a revoked key counts for nothing",
			[]change{{by: "eve", set: set(config, "1")}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"Retired": {
			"a retired key counts for what it signed before",
			[]change{{by: "oldie", set: set(config, "1")}, {by: "ann", made: 2 * time.Hour, set: set(config, "2")}},
			nil,
			want{Verified: 1, Counts: Counts{Human: 2}, Signers: []string{"ann", "oldie"}},
		},
		"RetiredLater": {
			"and for nothing after",
			[]change{{by: "oldie", made: time.Hour, set: set(config, "1")}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"RetiredBackdated": {
			"nor for what arrives after, whatever its date",
			[]change{{by: "oldie", set: set(config, "1"), seen: midnight.Add(2 * time.Hour)}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"NotYet": {
			"nor before it begins",
			[]change{{by: "oldie", made: -time.Hour, set: set(config, "1")}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"StopsBefore": {
			"a later human commit does not clear it",
			[]change{{by: "ann", set: set(config, "1")}, {set: set(config, "2")}, {by: "ann", set: set(config, "3")}},
			nil,
			want{Verified: 0, Refused: true, Counts: Counts{Human: 1}, Signers: []string{"ann"}},
		},
		"AcceptedByOperator": {
			"an operator takes responsibility",
			[]change{{set: set(config, "1")}, {by: "renovate", set: set(web, version("2"))}},
			func(h *history, r *Request) { r.Accept = []gitobject.ID{h.steps[0].ID} },
			want{Verified: 1, Counts: Counts{Accepted: 1, Automation: 1}, Signers: []string{"renovate"}},
		},
		"AcceptedByTrailer": {
			"a human takes responsibility",
			[]change{{set: set(config, "1")}, {set: set(docs, "1")}, {by: "ann", message: "ok\n\nTandem-Accept: $0."}},
			nil,
			want{Verified: 2, Counts: Counts{Accepted: 1, Untouched: 2}, Signers: []string{"ann"}},
		},
		"AcceptedInside": {
			"a human who may change what it changes",
			[]change{{set: set(config, "1")}, {by: "ben", message: "ok\n\nTandem-Accept: $0."}},
			nil,
			want{Verified: 1, Counts: Counts{Accepted: 1, Untouched: 1}, Signers: []string{"ben"}},
		},
		"AcceptedTwoAtOnce": {
			"one commit may accept several",
			[]change{
				{set: set(config, "1")},
				{set: set(config, "2")},
				{by: "ann", message: "ok\n\nTandem-Accept: $0.\ntandem-accept: $1."},
			},
			nil,
			want{Verified: 2, Counts: Counts{Accepted: 2, Untouched: 1}, Signers: []string{"ann"}},
		},
		"AcceptedOutside": {
			"not one who may not",
			[]change{{set: set("apps/x", "1")}, {by: "ben", message: "ok\n\nTandem-Accept: $0."}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AcceptedByAutomation": {
			"an automation takes no responsibility",
			[]change{{set: set(config, "1")}, {by: "renovate", message: "ok\n\nTandem-Accept: $0."}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AcceptedByNobody": {
			"nor does who does not sign",
			[]change{{set: set(config, "1")}, {message: "ok\n\nTandem-Accept: $0."}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AcceptedInText": {
			"a trailer is in the last paragraph",
			[]change{{set: set(config, "1")}, {by: "ann", message: "ok\n\nTandem-Accept: $0.\n\nnot really"}},
			nil,
			want{Verified: -1, Refused: true},
		},
		"AcceptedBesideTheChain": {
			"and in a commit of the chain",
			[]change{
				{set: set(config, "1")},
				{by: "ann", message: "ok\n\nTandem-Accept: $0.", parents: []int{-1}},
			},
			nil,
			want{Verified: -1, Refused: true},
		},
		"Rewritten": {
			"history that went elsewhere needs consent, whoever signed it",
			[]change{{by: "ann", set: set(config, "1")}, {by: "ann", set: set(config, "2"), parents: []int{-1}}},
			func(h *history, r *Request) { r.Held, r.Steps = h.steps[0], h.steps[1:] },
			want{Verified: 0, Refused: true},
		},
		"WentBack": {
			"so does history that went back",
			[]change{{by: "ann", set: set(config, "1")}},
			func(h *history, r *Request) { r.Held, r.Steps = h.steps[0], []Step{h.base} },
			want{Verified: 0, Refused: true},
		},
		"RewrittenAccepted": {
			"consent makes it the new ground",
			[]change{
				{by: "ann", set: set(config, "1")},
				{set: set(config, "2"), parents: []int{-1}},
				{by: "renovate", set: set(web, version("2"))},
			},
			func(h *history, r *Request) {
				r.Held, r.Steps, r.Accept = h.steps[0], h.steps[1:], []gitobject.ID{h.steps[1].ID}
			},
			want{Verified: 2, Counts: Counts{Accepted: 1, Automation: 1}, Signers: []string{"renovate"}},
		},
		"Gap": {
			"a chain has no gaps",
			[]change{{by: "ann", set: set(config, "1")}, {by: "ann", set: set(config, "2")}, {by: "ann", set: set(config, "3")}},
			func(h *history, r *Request) { r.Steps = []Step{h.steps[0], h.steps[2]} },
			want{Verified: 0, Refused: true, Counts: Counts{Human: 1}, Signers: []string{"ann"}},
		},
		"OtherContent": {
			"a commit is what its id says",
			[]change{{by: "ann", set: set(config, "1")}},
			func(h *history, r *Request) { r.Steps = []Step{{ID: h.steps[0].ID, Raw: h.base.Raw}} },
			want{Verified: -1, Refused: true},
		},
		"OtherContentAccepted": {
			"and nobody's consent makes it another",
			[]change{{by: "ann", set: set(config, "1")}},
			func(h *history, r *Request) {
				r.Steps, r.Accept = []Step{{ID: h.steps[0].ID, Raw: h.base.Raw}}, []gitobject.ID{h.steps[0].ID}
			},
			want{Verified: -1, Refused: true},
		},
		"HeldAgain": {
			"a chain may begin with what is held",
			[]change{{by: "ann", set: set(config, "1")}},
			func(h *history, r *Request) { r.Steps = []Step{h.base, h.steps[0]} },
			want{Verified: 0, Counts: Counts{Human: 1}, Signers: []string{"ann"}},
		},
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	policy := mustPolicy(t, cast())
	for name, tc := range verifyCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(gitobject.SHA1, tc.changes)
			checkVerdict(t, tc, h, requestOf(tc, h, policy))
		})
	}
}

func requestOf(tc verifyCase, h *history, p *Policy) Request {
	req := h.request(p)
	if tc.request != nil {
		tc.request(h, &req)
	}
	return req
}

func checkVerdict(t *testing.T, tc verifyCase, h *history, req Request) {
	t.Helper()
	verdict, err := Verify(t.Context(), req)
	if err != nil {
		t.Fatalf("Verify(...): %v", err)
	}
	got := want{
		Verified: h.index(verdict.Verified), Refused: verdict.Refusal != nil,
		Counts: verdict.Counts, Signers: verdict.Signers,
	}
	if diff := cmp.Diff(tc.want, got); diff != "" {
		t.Errorf("%s: Verify(...): -want, +got:\n%s\n%v", tc.reason, diff, verdict.Refusal)
	}
}

// What people read is reviewed in one place.
func TestRefusals(t *testing.T) {
	t.Parallel()
	policy := mustPolicy(t, cast())
	cases := verifyCases()
	maps.Copy(cases, firstContactCases())
	maps.Copy(cases, tagCases())
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		h := newHistory(gitobject.SHA1, cases[name].changes)
		verdict, err := Verify(t.Context(), requestOf(cases[name], h, policy))
		if err != nil {
			t.Fatal(err)
		}
		if verdict.Refusal != nil {
			b.WriteString("# " + name + ": " + cases[name].reason + "\n" + verdict.Refusal.String() + "\n\n")
		}
	}
	compare(t, "testdata/refusals.txt", b.String())
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), got); diff != "" {
		t.Errorf("%s: -want, +got (-update rewrites it):\n%s", file, diff)
	}
}
