package instant_test

import (
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/instant"
)

func TestChoices(t *testing.T) {
	t.Parallel()
	first := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	second, never := first.Add(time.Second), time.Time{}
	cases := map[string]struct{ got, want time.Time }{
		"Later":            {instant.Later(first, second), second},
		"LaterTurned":      {instant.Later(second, first), second},
		"Earlier":          {instant.Earlier(first, second), first},
		"EarlierTurned":    {instant.Earlier(second, first), first},
		"EarlierOfNone":    {instant.Earlier(first, never), never},
		"EarlierEnd":       {instant.EarlierEnd(first, second), first},
		"EarlierEndTurned": {instant.EarlierEnd(second, first), first},
		"NeverFirst":       {instant.EarlierEnd(never, first), first},
		"NeverSecond":      {instant.EarlierEnd(first, never), first},
		"Never":            {instant.EarlierEnd(never, never), never},
	}
	for name, tc := range cases {
		if !tc.got.Equal(tc.want) {
			t.Errorf("%s: got %s, want %s", name, tc.got, tc.want)
		}
	}
}

func TestMicros(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 1_234_567, time.FixedZone("", 3600))
	for _, tc := range []struct {
		reason   string
		at, want time.Time
	}{
		{"what is below a microsecond is lost", at, at.Add(-567).UTC()},
		{"none stays none", time.Time{}, time.Time{}},
		{"before 1970", time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC)},
	} {
		if got := instant.MicrosOf(tc.at).Time(); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.reason, got, tc.want)
		}
	}
	if instant.MicrosOf(time.Time{}) != 0 {
		t.Error("none is not zero")
	}
}
