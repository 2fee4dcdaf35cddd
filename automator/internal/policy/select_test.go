package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustNew(t testing.TB, c Config) Policy {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatalf("New(%+v): %v", c, err)
	}
	return p
}

// input is a selection among tags of which nothing but the name is known.
func input(current string, tags ...string) Input {
	in := Input{Current: Tag{Name: current}}
	for _, tag := range tags {
		in.Tags = append(in.Tags, Tag{Name: tag})
	}
	return in
}

func TestSelect(t *testing.T) {
	t.Parallel()
	type want struct {
		Tag     string
		Changed bool
	}
	tests := map[string]struct {
		reason  string
		config  Config
		tags    string
		current string
		want    want
	}{
		"Newest": {
			reason: "without a policy the newest version wins, by number and not by letter",
			tags:   "1.9.0 1.10.0 1.2.0", current: "1.2.0",
			want: want{"1.10.0", true},
		},
		"NoCurrent": {
			reason: "an image that has no tag yet gets one",
			tags:   "1.0.0 1.1.0",
			want:   want{"1.1.0", true},
		},
		"Range": {
			reason: "the newest in the range",
			config: Config{Semver: ">=1.0.0 <2.0.0"},
			tags:   "1.4.0 1.5.0 2.0.0 2.1.0", current: "1.4.0",
			want: want{"1.5.0", true},
		},
		"UpToDate": {
			reason: "nothing newer, nothing to do",
			tags:   "1.0.0 1.1.0", current: "1.1.0",
			want: want{"1.1.0", false},
		},
		"NoDowngrade": {
			reason: "a range that was narrowed does not take a running version back",
			config: Config{Semver: "<2"},
			tags:   "1.4.0 2.1.0", current: "2.1.0",
			want: want{"2.1.0", false},
		},
		"Vanished": {
			reason: "a tag that vanished from the registry is not replaced by an older one",
			tags:   "1.0.0 1.1.0", current: "1.2.0",
			want: want{"1.2.0", false},
		},
		"PrefixMixed": {
			reason: "a v in front is no part of the order",
			tags:   "v1.0.0 1.1.0 v1.2.0", current: "v1.0.0",
			want: want{"v1.2.0", true},
		},
		"PrefixTie": {
			reason: "of two names of one version the one like the current tag is taken",
			tags:   "1.1.0 v1.1.0", current: "v1.0.0",
			want: want{"v1.1.0", true},
		},
		"PrefixTieWithout": {
			reason: "and likewise without a v",
			tags:   "1.1.0 v1.1.0", current: "1.0.0",
			want: want{"1.1.0", true},
		},
		"SameVersion": {
			reason: "another name of the version that is there is no news",
			tags:   "1.1.0 v1.1.0", current: "1.1.0",
			want: want{"1.1.0", false},
		},
		"Precision": {
			reason: "a tag of two numbers follows tags of two numbers",
			tags:   "1.27 1.28 1.28.3 2", current: "1.27",
			want: want{"1.28", true},
		},
		"PrecisionWithoutCurrent": {
			reason: "a date is no release 20,240,115",
			tags:   "20240115 1.2.3 1.2", current: "latest",
			want: want{"1.2.3", true},
		},
		"PrecisionAlone": {
			reason: "dates are versions if there is nothing else",
			tags:   "20240115 20240301 latest",
			want:   want{"20240301", true},
		},
		"CalendarVersion": {
			reason: "leading zeros are common in dates",
			tags:   "2024.01.15 2024.02.03 2023.12.31", current: "2024.01.15",
			want: want{"2024.02.03", true},
		},
		"PreRelease": {
			reason: "pre-releases are not taken unasked",
			config: Config{Semver: ">=1.0.0"},
			tags:   "1.0.0 1.1.0-rc.1 1.1.0-beta2 1.1.0-5", current: "1.0.0",
			want: want{"1.0.0", false},
		},
		"PreReleaseAsked": {
			reason: "a range that names a pre-release takes them, in their order",
			config: Config{Semver: ">=1.0.0-0 <2.0.0"},
			tags:   "1.1.0-rc.9 1.1.0-rc.10 1.1.0-alpha.11 2.0.0-rc.1", current: "1.0.0",
			want: want{"1.1.0-rc.10", true},
		},
		"PreReleaseOfBound": {
			reason: "the pre-release that a range names is in it",
			config: Config{Semver: "<=2.0.0-rc.2"},
			tags:   "1.0.0 2.0.0-rc.1 2.0.0-rc.3 2.0.0", current: "1.0.0",
			want: want{"2.0.0-rc.1", true},
		},
		"FromPreRelease": {
			reason: "a release is newer than its pre-releases",
			tags:   "1.0.0-rc.1 1.0.0", current: "1.0.0-rc.1",
			want: want{"1.0.0", true},
		},
		"Variant": {
			reason: "a variant is another image under the same version",
			tags:   "1.27.0-alpine 1.28.0 1.28.0-alpine 1.29.0-slim 1.29.0", current: "1.27.0-alpine",
			want: want{"1.28.0-alpine", true},
		},
		"NoVariant": {
			reason: "having none is a variant too",
			tags:   "1.27.0 1.28.0-alpine 1.28.0-debian-12-r3", current: "1.27.0",
			want: want{"1.27.0", false},
		},
		"VariantAndPreRelease": {
			reason: "a tag can have both",
			config: Config{Semver: ">=1.0.0-0"},
			tags:   "1.28.0-rc.1-alpine 1.28.0-rc.2-alpine 1.28.0-rc.3 1.28.0-rc1-slim", current: "1.27.0-alpine",
			want: want{"1.28.0-rc.2-alpine", true},
		},
		"VariantWithoutVersion": {
			reason: "a moving tag says which variant it is of",
			tags:   "1.28.0 1.28.0-alpine 1.28.0-alpine3.20 1.28.0-slim", current: "latest-alpine",
			want: want{"1.28.0-alpine", true},
		},
		"VariantAlone": {
			reason: "also where it is nothing but the variant",
			tags:   "1.28.0 1.28.0-alpine", current: "alpine",
			want: want{"1.28.0-alpine", true},
		},
		"Build": {
			reason: "a build is no part of the order; registries write _ for +",
			tags:   "1.0.0_9 1.0.1_3", current: "1.0.0_5",
			want: want{"1.0.1_3", true},
		},
		"BuildOfSameVersion": {
			reason: "another build of the same version is no newer version",
			tags:   "1.0.0_5 1.0.0_9", current: "1.0.0_5",
			want: want{"1.0.0_5", false},
		},
		"Signatures": {
			reason: "signatures have tags that start like a number after sha",
			tags:   "1.0.0 sha256-" + strings.Repeat("9", 64) + ".sig sha256-1.att", current: "1.0.0",
			want: want{"1.0.0", false},
		},
		"Malformed": {
			reason: "what is no version does not disturb the rest",
			tags:   "latest main 1.0.0.1 1..2 v 1.2.3. 01x 99999999999999999999.0.0 -1.0.0 a/b 1.1.0 9.9.9é " + strings.Repeat("9", 200), current: "1.0.0",
			want: want{"1.1.0", true},
		},
		"Deny": {
			reason: "deny wins over allow",
			config: Config{Allow: []string{`^1\.`}, Deny: []string{`^1\.3\.`}},
			tags:   "1.2.0 1.3.0 2.0.0", current: "1.1.0",
			want: want{"1.2.0", true},
		},
		"DeniedCurrent": {
			reason: "a denied tag that runs stays until there is something newer",
			config: Config{Deny: []string{"^1.3"}},
			tags:   "1.2.0 1.3.0", current: "1.3.0",
			want: want{"1.3.0", false},
		},
		"NoTags":     {reason: "an empty repository changes nothing", current: "1.0.0", want: want{"1.0.0", false}},
		"Nothing":    {reason: "no tag and none to choose", tags: "latest", want: want{"", false}},
		"Duplicates": {reason: "a page that is listed twice", tags: "1.1.0 1.1.0", current: "1.0.0", want: want{"1.1.0", true}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, verdicts := Select(mustNew(t, tc.config), input(tc.current, strings.Fields(tc.tags)...))
			if diff := cmp.Diff(tc.want, want{got.Tag, got.Changed}); diff != "" {
				t.Errorf("%s: Select(...): -want, +got:\n%s\n%s\n%v", tc.reason, diff, got.Reason, verdicts)
			}
			if got.Reason == "" {
				t.Errorf("%s: Select(...) gives no reason", tc.reason)
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	p := mustNew(t, Config{Semver: ">=1.0.0 <2.0.0", Deny: []string{"^1.5"}})
	tags := []string{
		"1.5.0", "1.4.0", "1.3.0", "1.2.0", "1.1.0", "2.0.0", "1.4.1-rc.1", "1.4.1-alpine", "1.4", "latest",
		"sha256-" + strings.Repeat("a", 64), "not a tag", "v1.2.0",
	}
	in := input("1.2.0", tags...)
	selection, got := Select(p, in)
	want := []Verdict{
		{"1.4.0", true, RuleNewest, "the newest in semver >=1.0.0 <2.0.0"},
		{"1.3.0", true, RuleOutranked, "in semver >=1.0.0 <2.0.0, but 1.4.0 goes first"},
		{"1.2.0", true, RuleCurrent, "the current tag"},
		{"2.0.0", false, RuleRange, "not in semver >=1.0.0 <2.0.0"},
		{"1.5.0", false, RuleDeny, "denied by ^1.5"},
		{"1.4.1-alpine", false, RuleVariant, "the variant alpine, the current tag is no variant"},
		{"1.4.1-rc.1", false, RulePreRelease, "a pre-release, and the range names none"},
		{"1.4", false, RulePrecision, "2 numbers, the current tag 1.2.0 has 3"},
		{"v1.2.0", false, RuleOlder, "the same version as the current tag 1.2.0"},
		{"1.1.0", false, RuleOlder, "older than the current tag 1.2.0"},
		{"latest", false, RuleVersion, "not a version"},
		{"not a tag", false, RuleName, "not a name that a tag can have"},
		{"sha256-" + strings.Repeat("a", 64), false, RuleSignature, "a signature or an attestation of another image"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Select(...): -want, +got:\n%s", diff)
	}
	if want := "1.4.0 is the newest in semver >=1.0.0 <2.0.0, and newer than 1.2.0"; selection.Reason != want {
		t.Errorf("Select(...).Reason = %q, want %q", selection.Reason, want)
	}
	for _, verdict := range want {
		if diff := cmp.Diff(verdict, Explain(p, in, verdict.Tag)); diff != "" {
			t.Errorf("Explain(..., %q): -want, +got:\n%s", verdict.Tag, diff)
		}
	}
}

func TestExplainUnlisted(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		asked  string
		want   Verdict
	}{
		"WouldBeTaken": {
			"a tag that was pushed a moment ago, or never", "1.2.0",
			Verdict{"1.2.0", false, RuleName, "the policy would take it, but the repository does not list it"},
		},
		"WouldNot": {
			"both are worth knowing", "1.0.0-rc.1",
			Verdict{"1.0.0-rc.1", false, RulePreRelease, "a pre-release, and the range names none; the repository does not list it either"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Explain(Policy{}, input("1.0.0", "1.1.0"), tc.asked)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: Explain(..., %q): -want, +got:\n%s", tc.reason, tc.asked, diff)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		config Config
	}{
		"Range":   {"no range", Config{Semver: "newest please"}},
		"Comma":   {"half a range", Config{Semver: ">=1.0.0,"}},
		"Allow":   {"no expression", Config{Allow: []string{"("}}},
		"Deny":    {"no expression", Config{Deny: []string{"[a"}}},
		"TooLong": {"no range of anyone", Config{Semver: strings.Repeat("1 ", 1000)}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := New(tc.config); err == nil {
				t.Errorf("%s: New(%+v): want an error", tc.reason, tc.config)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		a, b   string
		order  int
		ok     bool
	}{
		"Lower":    {"by number", "1.9.0", "v1.10.0", -1, true},
		"Equal":    {"the v is no part of the order", "v1.10", "1.10.0", 0, true},
		"Variants": {"variants are different images", "1.9.0", "1.10.0-alpine", 0, false},
		"Words":    {"a word has no place in the order", "latest", "1.0.0", 0, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if order, ok := (Policy{}).Compare(tc.a, tc.b); order != tc.order || ok != tc.ok {
				t.Errorf("%s: Compare(%q, %q) = %d, %v, want %d, %v", tc.reason, tc.a, tc.b, order, ok, tc.order, tc.ok)
			}
		})
	}
}
