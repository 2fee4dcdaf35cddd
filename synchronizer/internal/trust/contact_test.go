package trust

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/gitobject/gitobjecttest"
)

func firstContactCases() map[string]verifyCase {
	first := func(h *history, r *Request) { r.Held = Step{} }
	since := func(i int) func(h *history, r *Request) {
		return func(h *history, r *Request) {
			r.Held, r.Since = Step{}, h.steps[0].ID
			r.Steps = h.steps[i:]
		}
	}
	return map[string]verifyCase{
		"FirstHuman": {
			"a human's head is a ground to stand on",
			[]change{{by: "ann", set: set(config, "1")}, {by: "renovate", set: set(web, version("2"))}},
			first,
			want{Verified: 1, Counts: Counts{Human: 1, Automation: 1}, Signers: []string{"ann", "renovate"}},
		},
		"FirstUnsigned": {
			"nobody's is not",
			[]change{{set: set(config, "1")}},
			first,
			want{Verified: -2, Refused: true},
		},
		"FirstUnsignedDocs": {
			"even if it changes nothing: what is below it is not known",
			[]change{{set: set(docs, "1")}},
			first,
			want{Verified: -2, Refused: true},
		},
		"FirstAutomation": {
			"nor is an automation's",
			[]change{{by: "renovate", set: set(web, version("2"))}},
			first,
			want{Verified: -2, Refused: true},
		},
		"FirstOutside": {
			"nor that of a human who may change a part",
			[]change{{by: "ben", set: set(config, "1")}},
			first,
			want{Verified: -2, Refused: true},
		},
		"FirstInside": {
			"unless that is the part",
			[]change{{by: "ben", set: set(config, "1")}},
			func(_ *history, r *Request) { r.Held, r.Paths = Step{}, []string{"apps/web", "absent"} },
			want{Verified: 0, Counts: Counts{Human: 1}, Signers: []string{"ben"}},
		},
		"FirstAccepted": {
			"an operator may say so",
			[]change{{set: set(config, "1")}},
			func(h *history, r *Request) { r.Held, r.Accept = Step{}, []gitobject.ID{h.steps[0].ID} },
			want{Verified: 0, Counts: Counts{Accepted: 1}},
		},
		"Since": {
			"the installer names the ground",
			[]change{{set: set(config, "1")}, {by: "renovate", set: set(web, version("2"))}},
			since(0),
			want{Verified: 1, Counts: Counts{Trusted: 1, Automation: 1}, Signers: []string{"renovate"}},
		},
		"SinceIsExact": {
			"and means it",
			[]change{{set: set(config, "1")}, {by: "ann", set: set(config, "2")}},
			since(1),
			want{Verified: -2, Refused: true},
		},
	}
}

func TestFirstContact(t *testing.T) {
	t.Parallel()
	policy := mustPolicy(t, cast())
	for name, tc := range firstContactCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(gitobject.SHA256, tc.changes)
			checkVerdict(t, tc, h, requestOf(tc, h, policy))
		})
	}
}

func tagCases() map[string]verifyCase {
	tagged := func(by, message string, made time.Duration) func(h *history, r *Request) {
		return func(h *history, r *Request) {
			r.Tag, r.Ref = h.tag(by, message, made, h.steps[len(h.steps)-1]), "refs/tags/v1"
		}
	}
	unsigned := []change{{set: set(config, "1")}, {set: set(config, "2")}}
	sealed := want{Verified: 1, Counts: Counts{Sealed: 1}, Signers: []string{"ann"}}
	refused := want{Verified: -1, Refused: true}
	return map[string]verifyCase{
		"TagSeals":        {"a human's tag vouches for all below it", unsigned, tagged("ann", "", time.Hour), sealed},
		"TagByNobody":     {"an unsigned tag for nothing", unsigned, tagged("", "", time.Hour), refused},
		"TagByAutomation": {"nor does an automation's", unsigned, tagged("renovate", "", time.Hour), refused},
		"TagInside":       {"a human tags what it may change", unsigned, tagged("ben", "", time.Hour), want{1, false, Counts{Sealed: 1}, []string{"ben"}}},
		"TagOutside": {
			"and nothing else", []change{{set: set("apps/x", "1")}}, tagged("ben", "", time.Hour), refused,
		},
		"TagFirst": {
			"it is a ground to stand on", unsigned,
			func(h *history, r *Request) { tagged("ann", "", time.Hour)(h, r); r.Held = Step{} }, sealed,
		},
		"TagOfAnother": {
			"it names its commit", unsigned,
			func(h *history, r *Request) { r.Tag, r.Ref = h.tag("ann", "", time.Hour, h.base), "refs/tags/v1" }, refused,
		},
		"TagElsewhere": {
			"and its name", unsigned,
			func(h *history, r *Request) { tagged("ann", "", time.Hour)(h, r); r.Ref = "refs/tags/v2" }, refused,
		},
		"TagWalks": {
			"without it the chain is walked",
			[]change{{by: "ann", set: set(config, "1")}},
			tagged("", "", time.Hour),
			want{Verified: 0, Counts: Counts{Human: 1}, Signers: []string{"ann"}},
		},
		"TagAgain": {
			"an old tag does not take anything back",
			[]change{{by: "ann", set: set(config, "1"), made: 2 * time.Hour}},
			func(h *history, r *Request) {
				r.Tag, r.Ref = h.tag("ann", "", time.Hour, h.base), "refs/tags/v1"
				r.Held, r.Steps = h.steps[0], []Step{h.base}
			},
			want{Verified: 0, Refused: true},
		},
		"TagBack": {
			"a new one does",
			[]change{{by: "ann", set: set(config, "1"), made: time.Hour}},
			func(h *history, r *Request) {
				r.Tag, r.Ref = h.tag("ann", "", 2*time.Hour, h.base), "refs/tags/v1"
				r.Held, r.Steps = h.steps[0], []Step{h.base}
			},
			want{Verified: -1, Counts: Counts{Sealed: 1}, Signers: []string{"ann"}},
		},
		"TagOldOnNew": {
			"what descends takes nothing back, whatever the clocks said",
			[]change{{set: set(config, "1"), made: 2 * time.Hour}},
			tagged("ann", "", -time.Hour),
			want{Verified: 0, Counts: Counts{Sealed: 1}, Signers: []string{"ann"}},
		},
		"TagAccepts": {
			"a tag may accept a commit and not the whole",
			[]change{{set: set(config, "1")}, {by: "ann", set: set("apps/x", "1")}},
			tagged("ben", "one\n\nTandem-Accept: $0.", time.Hour),
			want{Verified: 1, Counts: Counts{Accepted: 1, Human: 1}, Signers: []string{"ann", "ben"}},
		},
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	policy := mustPolicy(t, cast())
	for name, tc := range tagCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(gitobject.SHA1, tc.changes)
			checkVerdict(t, tc, h, requestOf(tc, h, policy))
		})
	}
}

func TestSealSaysWhyNot(t *testing.T) {
	t.Parallel()
	h := newHistory(gitobject.SHA1, []change{{by: "ann", set: set(config, "1")}})
	req := h.request(mustPolicy(t, cast()))
	verdict, err := Seal(t.Context(), req)
	if err != nil || verdict.Refusal == nil || verdict.Verified != h.base.ID {
		t.Fatalf("Seal without a tag: %+v, %v", verdict, err)
	}
	req.Tag, req.Ref = h.tag("ann", "", time.Hour, h.steps[0]), "refs/tags/v1"
	verdict, err = Seal(t.Context(), req)
	if err != nil || verdict.Refusal != nil || verdict.Verified != h.steps[0].ID {
		t.Fatalf("Seal with a tag: %+v, %v", verdict, err)
	}
}

func TestRelayBelieves(t *testing.T) {
	t.Parallel()
	c := cast()
	c.Mode = Relay
	h := newHistory(gitobject.SHA1, []change{{set: set(config, "1")}})
	for name, decide := range map[string]func(Request) (Verdict, error){
		"Verify": func(r Request) (Verdict, error) { return Verify(t.Context(), r) },
		"Seal":   func(r Request) (Verdict, error) { return Seal(t.Context(), r) },
	} {
		verdict, err := decide(h.request(mustPolicy(t, c)))
		if err != nil || verdict.Verified != h.steps[0].ID || !verdict.Unverified || verdict.Refusal != nil {
			t.Errorf("%s: %+v, %v", name, verdict, err)
		}
	}
}

// An object that cannot be read is no verdict about a commit, and what was
// verified before stays so.
func TestAbsentObjectsAreErrors(t *testing.T) {
	t.Parallel()
	h := newHistory(gitobject.SHA1, []change{
		{by: "ann", set: set(config, "1")}, {by: "renovate", set: set(web, version("2"))},
	})
	req := h.request(mustPolicy(t, cast()))
	req.Blobs = gitobjecttest.NewStore(gitobject.SHA1)
	verdict, err := Verify(t.Context(), req)
	if !errors.Is(err, gitobjecttest.ErrAbsent) || verdict.Verified != h.steps[0].ID || verdict.Refusal != nil {
		t.Errorf("Verify(...) = %+v, %v", verdict, err)
	}
}

// A tree that Git itself would refuse will never be read better, so it is the
// commit that is refused, for good.
func TestMalformedTreesAreRefused(t *testing.T) {
	t.Parallel()
	h := newHistory(gitobject.SHA1, nil)
	bad := h.store.Put(gitobject.TypeTree, []byte("40000 .git\x00"+strings.Repeat("x", 20)))
	commit := &gitobject.Commit{Tree: bad, Parents: []gitobject.ID{h.base.ID}}
	h.steps = []Step{h.commit(commit, change{by: "ann"}, 1)}
	req := h.request(mustPolicy(t, cast()))
	req.Accept = []gitobject.ID{h.steps[0].ID}
	verdict, err := Verify(t.Context(), req)
	if err != nil || verdict.Refusal == nil || verdict.Verified != h.base.ID {
		t.Errorf("Verify(...) = %+v, %v", verdict, err)
	}
}

func TestRequestsAreChecked(t *testing.T) {
	t.Parallel()
	h := newHistory(gitobject.SHA1, nil)
	for name, spoil := range map[string]func(r *Request){
		"Held":  func(r *Request) { r.Held.Raw = nil },
		"Paths": func(r *Request) { r.Paths = []string{"../up"} },
		"Steps": func(r *Request) { r.Steps = make([]Step, MaxSteps+1) },
	} {
		req := h.request(mustPolicy(t, cast()))
		spoil(&req)
		if _, err := Verify(t.Context(), req); err == nil {
			t.Errorf("%s: Verify took a request that is not in order", name)
		}
	}
}
