package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSigned takes what is first in the order among what is signed, asks about what nobody has checked, and says of which digest
// the answer was.
func TestSigned(t *testing.T) {
	t.Parallel()
	tags := []Tag{{Name: "1.0.0", Digest: "a"}, {Name: "1.1.0", Digest: "b"}, {Name: "1.2.0", Digest: "c"}, {Name: "main", Digest: "d"}}
	checked := func(kept bool) Signed { return Signed{Checked: true, Kept: kept, Reason: "nobody signed it"} }
	cases := map[string]struct {
		config  Config
		current Tag
		known   map[string]Signed // by digest
		tag     string
		digest  string
		check   []Tag
		rule    Rule // of 1.2.0, or main
	}{
		"AsksAboutTheNewest": {
			current: tags[0], known: map[string]Signed{}, tag: "1.0.0", check: []Tag{tags[2], tags[1]}, rule: RuleUnchecked,
		},
		"TakesTheNewestSigned": {
			current: tags[0], known: map[string]Signed{"b": checked(true), "c": checked(false)}, tag: "1.1.0", digest: "b", rule: RuleUnsigned,
		},
		"SignedNewestWins": {
			current: tags[0], known: map[string]Signed{"c": checked(true)}, tag: "1.2.0", digest: "c", rule: RuleNewest,
		},
		"NoneSigned": {
			current: tags[0], known: map[string]Signed{"b": checked(false), "c": checked(false)}, tag: "1.0.0", rule: RuleUnsigned,
		},
		"DowngradeOnlyFromWhatIsKnown": {
			config: Config{Downgrade: true}, current: tags[2], known: map[string]Signed{"b": checked(true)}, tag: "1.2.0", rule: RuleCurrent,
		},
		"PinNamesTheDigest": {
			config: Config{Pin: "1.2.0@" + testDigest}, current: tags[0], known: map[string]Signed{testDigest: checked(true)},
			tag: "1.2.0", digest: testDigest, rule: RuleNewest,
		},
		"PinIsChecked": {
			config: Config{Pin: "1.2.0@" + testDigest}, current: tags[0], known: map[string]Signed{"c": checked(true)},
			tag: "1.0.0", check: []Tag{{Name: "1.2.0", Digest: testDigest}}, rule: RuleUnchecked,
		},
		"PinWithoutDigest": {
			config: Config{Pin: "1.2.0"}, current: tags[0], known: map[string]Signed{"c": checked(true)}, tag: "1.2.0", digest: "c", rule: RuleNewest,
		},
		"FollowedTagMovedToUnsigned": {
			config: Config{Follow: "main"}, current: Tag{Name: "main", Digest: "z"}, known: map[string]Signed{"d": checked(false)}, tag: "main", rule: RuleUnsigned,
		},
		"FollowedTagMovedToSigned": {
			config: Config{Follow: "main"}, current: Tag{Name: "main", Digest: "z"}, known: map[string]Signed{"d": checked(true)},
			tag: "main", digest: "d", rule: RuleNewest,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := New(tc.config)
			if err != nil {
				t.Fatal(err)
			}
			asked := "1.2.0"
			if tc.config.Follow != "" {
				asked = tc.config.Follow
			}
			in := Input{Tags: tags, Current: tc.current, Signed: func(tag *Tag) Signed { return tc.known[tag.Digest] }}
			got, _ := Select(p, in)
			if got.Tag != tc.tag || got.Digest != tc.digest || got.Changed != (tc.digest != "") {
				t.Errorf("Select(...): %s@%s, changed %v, want %s@%s: %s", got.Tag, got.Digest, got.Changed, tc.tag, tc.digest, got.Reason)
			}
			if diff := cmp.Diff(tc.check, got.Check); diff != "" {
				t.Errorf("Select(...): to check: -want, +got:\n%s", diff)
			}
			if verdict := Explain(p, in, asked); verdict.Rule != tc.rule {
				t.Errorf("Explain(%s): %s (%s), want %s", asked, verdict.Rule, verdict.Reason, tc.rule)
			}
		})
	}
}

const testDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
