package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSchemes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason  string
		config  Config
		tags    string
		current string
		want    string
	}{
		"Numeric":          {"numbers are no text", Config{Numeric: "asc"}, "9 10 11x 1", "9", "10"},
		"NumericLong":      {"a float64 would take these for the same", Config{Numeric: "asc"}, "90071992547409930001 90071992547409930002", "90071992547409930001", "90071992547409930002"},
		"NumericFraction":  {"likewise behind the point", Config{Numeric: "asc"}, "1.30000000000000000001 1.30000000000000000002 1.3", "1.3", "1.30000000000000000002"},
		"NumericDecimal":   {"a number and not a version", Config{Numeric: "asc"}, "1.9 1.10", "1.10", "1.9"},
		"NumericSame":      {"zeros add nothing", Config{Numeric: "asc"}, "007 7 7.0", "7", "7"},
		"NumericDesc":      {"the lowest wins", Config{Numeric: "desc"}, "3 2 1", "2", "1"},
		"NumericNoBack":    {"what is there vanished and nothing is higher", Config{Numeric: "asc"}, "1 2", "3", "3"},
		"NumericMatch":     {"the first group is what counts", Config{Numeric: "asc", Match: `^main-(\d+)-[0-9a-f]+$`}, "main-9-aa main-10-bb main-11 dev-12-cc", "main-9-aa", "main-10-bb"},
		"MatchNamedValue":  {"the group value goes before the first", Config{Numeric: "asc", Match: `^([a-z]+)-(?P<value>\d+)$`}, "a-1 b-2", "a-1", "b-2"},
		"MatchExtract":     {"a value can be put together", Config{Numeric: "asc", Match: `^(\d+)-(\d+)$`, Extract: "$1$2"}, "2024-09 2024-10 2023-99", "2024-09", "2024-10"},
		"MatchSemver":      {"versions between other words", Config{Semver: "^1", Match: `^prod-(.*)$`}, "prod-1.2.0 1.3.0 prod-2.0.0", "prod-1.1.0", "prod-1.2.0"},
		"MatchCurrent":     {"what is there does not match, and is a version all the same", Config{Semver: "^1", Match: `^prod-(.*)$`}, "prod-1.2.0", "1.3.0", "1.3.0"},
		"Lexical":          {"by bytes", Config{Lexical: "asc"}, "b a c", "a", "c"},
		"LexicalDesc":      {"the first wins", Config{Lexical: "desc"}, "b a c", "b", "a"},
		"LexicalFrom":      {"a tag of another kind has no place", Config{Lexical: "asc", Allow: []string{`^2`}}, "2024 2025 latest", "latest", "2025"},
		"Calver":           {"by date", Config{Calver: "YYYY.0M.0D"}, "2024.02.03 2024.01.15 2024.13.01 2024.1.5", "2024.01.15", "2024.02.03"},
		"CalverMicro":      {"a counter behind the date", Config{Calver: "YY.MM.MICRO"}, "24.10.9 24.10.10 24.9.100", "24.10.9", "24.10.10"},
		"CalverDayFirst":   {"the year counts most wherever it stands", Config{Calver: "DD-MM-YYYY"}, "1-2-2025 31-12-2024", "31-12-2024", "1-2-2025"},
		"CalverVariant":    {"variants are not crossed", Config{Calver: "YYYY.0M"}, "2024.02-alpine 2024.03 2024.04-slim", "2024.01-alpine", "2024.02-alpine"},
		"CalverPre":        {"pre-releases are not taken unasked", Config{Calver: "YYYY.0M"}, "2024.02 2024.03-rc.1", "2024.02", "2024.02"},
		"CalverPreAsked":   {"but they are if asked for", Config{Calver: "YYYY.0M", PreReleases: true}, "2024.02 2024.03-rc.1", "2024.02", "2024.03-rc.1"},
		"PreReleases":      {"asked for, also where the range names none", Config{Semver: "^1", PreReleases: true}, "1.0.0 1.1.0-rc.1 2.0.0-rc.1", "1.0.0", "1.1.0-rc.1"},
		"AnyPrecision":     {"1.27 may become 1.27.3 if somebody says so", Config{Precision: "any"}, "1.27 1.27.3 1.28", "1.27", "1.28"},
		"AnyPrecisionMore": {"the more precise name of a version that is no other", Config{Precision: "any"}, "1.27 1.27.3", "1.27", "1.27.3"},
		"Downgrade":        {"told to go back", Config{Semver: "^1", Downgrade: true}, "1.9.0 1.8.0 2.0.0", "2.0.0", "1.9.0"},
		"DowngradeStays":   {"told to go back, but this is what it would take", Config{Semver: "^1", Downgrade: true}, "1.9.0 1.8.0", "1.9.0", "1.9.0"},
		"DowngradeForward": {"going forward needs no telling", Config{Numeric: "asc", Downgrade: true}, "1 2 3", "2", "3"},
		"Pin":              {"the one tag, older or not", Config{Pin: "1.1.0"}, "1.0.0 1.1.0 1.2.0", "1.2.0", "1.1.0"},
		"PinThere":         {"nothing to do", Config{Pin: "1.1.0"}, "1.1.0 1.2.0", "1.1.0", "1.1.0"},
		"PinMissing":       {"a tag that is not there is not taken", Config{Pin: "1.5.0"}, "1.1.0 1.2.0", "1.1.0", "1.1.0"},
		"PinDigest":        {"whoever names the digest need not wait", Config{Pin: "1.5.0@sha256:" + strings.Repeat("a", 64)}, "1.1.0", "1.1.0", "1.5.0"},
		"Hold":             {"nothing moves", Config{Hold: "release freeze"}, "1.0.0 1.1.0", "1.0.0", "1.0.0"},
		"Follow":           {"the tag that is followed", Config{Follow: "main"}, "main 9.9.9", "1.0.0", "main"},
		"FollowMissing":    {"which is not there", Config{Follow: "main"}, "9.9.9", "1.0.0", "1.0.0"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, verdicts := Select(mustNew(t, tc.config), input(tc.current, strings.Fields(tc.tags)...))
			if got.Tag != tc.want || got.Changed != (tc.want != tc.current) {
				t.Errorf("%s: Select(...) = %q, changed %v (%s), want %q\n%v", tc.reason, got.Tag, got.Changed, got.Reason, tc.want, verdicts)
			}
		})
	}
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// made returns a tag that was looked at.
func made(name string, ago time.Duration, platforms ...string) Tag {
	return Tag{Name: name, Digest: "sha256:" + name, Created: noon.Add(-ago), Pushed: noon.Add(-ago), Platforms: platforms, Inspected: true}
}

func TestSelectByImage(t *testing.T) {
	t.Parallel()
	type want struct {
		Tag, Digest string
		Inspect     []string
		Again       time.Time
	}
	main := Tag{Name: "main", Digest: "sha256:new", Pushed: noon.Add(-time.Hour)}
	tests := map[string]struct {
		reason  string
		config  Config
		tags    []Tag
		current Tag
		want    want
	}{
		"Newest": {
			reason: "by time and not by name",
			config: Config{Newest: "created"},
			tags:   []Tag{made("c", time.Hour), made("b", time.Minute), made("a", 2*time.Hour)}, current: made("a", 2*time.Hour),
			want: want{Tag: "b", Digest: "sha256:b"},
		},
		"NewestWaits": {
			reason: "what nobody has looked at may be newer",
			config: Config{Newest: "created"},
			tags:   []Tag{made("a", time.Hour), {Name: "b"}, made("c", time.Minute), {Name: "d"}}, current: made("a", time.Hour),
			want: want{Tag: "a", Inspect: []string{"b", "d"}},
		},
		"NewestBroken": {
			reason: "an image that cannot be read keeps nothing else back",
			config: Config{Newest: "created"},
			tags:   []Tag{made("a", time.Hour), {Name: "b", Problem: "too large"}, made("c", time.Minute), {Name: "d", Inspected: true}}, current: made("a", time.Hour),
			want: want{Tag: "c", Digest: "sha256:c"},
		},
		"NewestGone": {
			reason: "what is there vanished from the registry, which is no reason to go back",
			config: Config{Newest: "created"},
			tags:   []Tag{made("a", time.Hour)}, current: made("b", time.Minute),
			want: want{Tag: "b"},
		},
		"NewestTie": {
			reason: "of two images of the same second the higher name wins, as people count",
			config: Config{Newest: "created"},
			tags:   []Tag{made("build-10", time.Minute), made("build-9", time.Minute), made("a", time.Hour)}, current: made("a", time.Hour),
			want: want{Tag: "build-10", Digest: "sha256:build-10"},
		},
		"NewestPushed": {
			reason: "somebody pushed an old image again",
			config: Config{Newest: "pushed"},
			tags:   []Tag{{Name: "a", Pushed: noon.Add(-time.Hour)}, {Name: "b", Pushed: noon}}, current: Tag{Name: "a", Pushed: noon.Add(-time.Hour)},
			want: want{Tag: "b"},
		},
		"MinAge": {
			reason: "the newest that is old enough, and when to look again",
			config: Config{MinAge: "1d"},
			tags:   []Tag{made("1.0.0", 100*time.Hour), made("1.1.0", 25*time.Hour), made("1.2.0", 23*time.Hour), made("1.3.0", time.Hour)}, current: Tag{Name: "1.0.0"},
			want: want{Tag: "1.1.0", Digest: "sha256:1.1.0", Again: noon.Add(time.Hour)},
		},
		"MinAgeUnknown": {
			reason: "what nobody knows the age of is not old",
			config: Config{MinAge: "1s"},
			tags:   []Tag{{Name: "1.1.0"}}, current: Tag{Name: "1.0.0"},
			want: want{Tag: "1.0.0"},
		},
		"Platform": {
			reason: "the newest that is there for the platform",
			config: Config{Platform: "linux/arm64"},
			tags:   []Tag{made("1.2.0", 0, "linux/amd64"), made("1.1.0", 0, "linux/amd64", "linux/arm64/v8")}, current: Tag{Name: "1.0.0"},
			want: want{Tag: "1.1.0", Digest: "sha256:1.1.0"},
		},
		"PlatformWaits": {
			reason: "only what would be taken is looked at",
			config: Config{Platform: "linux/arm64"},
			tags:   []Tag{{Name: "1.3.0"}, made("1.2.0", 0, "linux/arm64"), {Name: "1.1.0"}}, current: Tag{Name: "1.0.0"},
			want: want{Tag: "1.0.0", Inspect: []string{"1.3.0"}},
		},
		"FollowMoved": {
			reason: "the tag points to something else",
			config: Config{Follow: "main"},
			tags:   []Tag{main}, current: Tag{Name: "main", Digest: "sha256:old"},
			want: want{Tag: "main", Digest: "sha256:new"},
		},
		"FollowSame": {
			reason: "the tag points to what is there",
			config: Config{Follow: "main"},
			tags:   []Tag{main}, current: Tag{Name: "main", Digest: "sha256:new"},
			want: want{Tag: "main"},
		},
		"FollowYoung": {
			reason: "a tag that moved a moment ago",
			config: Config{Follow: "main", MinAge: "2h"},
			tags:   []Tag{main}, current: Tag{Name: "main", Digest: "sha256:old"},
			want: want{Tag: "main", Again: noon.Add(time.Hour)},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _ := Select(mustNew(t, tc.config), Input{Tags: tc.tags, Current: tc.current, Now: noon})
			if diff := cmp.Diff(tc.want, want{got.Tag, got.Digest, got.Inspect, got.Again}); diff != "" {
				t.Errorf("%s: Select(...): -want, +got:\n%s\n%s", tc.reason, diff, got.Reason)
			}
			if got.Changed != (tc.want.Digest != "" || tc.want.Tag != tc.current.Name) {
				t.Errorf("%s: Select(...).Changed = %v, with %+v", tc.reason, got.Changed, got)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		config Config
		want   []string
	}{
		"Two":          {"which one would count?", Config{Semver: "^1", Numeric: "asc"}, []string{"numeric"}},
		"Newest":       {"no such time", Config{Newest: "built"}, []string{"newest"}},
		"Numeric":      {"no such order", Config{Numeric: "up"}, []string{"numeric"}},
		"Lexical":      {"no such order", Config{Lexical: "down"}, []string{"lexical"}},
		"Calver":       {"a format without a date", Config{Calver: "MAJOR.MINOR"}, []string{"calver"}},
		"CalverParts":  {"more parts than are kept", Config{Calver: "YYYY.MM.DD.MAJOR.MINOR.MICRO.MICRO"}, []string{"calver"}},
		"Follow":       {"no tag", Config{Follow: "a b"}, []string{"follow"}},
		"Pin":          {"no tag", Config{Pin: "1.0.0@sha256:12"}, []string{"pin"}},
		"Idle":         {"keys that would do nothing", Config{Numeric: "asc", PreReleases: true, Precision: "any"}, []string{"preReleases", "precision"}},
		"IdlePin":      {"likewise", Config{Pin: "1", Match: "x", Downgrade: true}, []string{"match", "downgrade"}},
		"Precision":    {"no such thing", Config{Precision: "2"}, []string{"precision"}},
		"Extract":      {"nothing to extract from", Config{Extract: "$1"}, []string{"extract"}},
		"ExtractGroup": {"groups that are not there", Config{Match: "(a)", Extract: "$2${name}"}, []string{"extract", "extract"}},
		"ExtractNone":  {"every tag would be the same", Config{Match: "(a)", Extract: "x"}, []string{"extract"}},
		"Match":        {"no expression", Config{Match: "("}, []string{"match"}},
		"MatchLong":    {"an expression of nobody", Config{Match: strings.Repeat("a", MaxExpression+1)}, []string{"match"}},
		"Deny":         {"each by itself", Config{Deny: []string{"a", "(", ")"}}, []string{"deny", "deny"}},
		"DenyMany":     {"more than anybody writes", Config{Deny: make([]string, MaxExpressions+1)}, []string{"deny"}},
		"Platform":     {"half a platform", Config{Platform: "amd64"}, []string{"platform"}},
		"MinAge":       {"no unit", Config{MinAge: "10"}, []string{"minAge"}},
		"MinAgeBack":   {"no age", Config{MinAge: "-1h"}, []string{"minAge"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(tc.config)
			faults, _ := err.(Faults) //nolint:errorlint // New says that it is of this type
			var got []string
			for _, fault := range faults {
				got = append(got, fault.Key)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: New(%+v): -want, +got:\n%s\n%v", tc.reason, tc.config, diff, err)
			}
		})
	}
}
