package backoff_test

import (
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/backoff"
)

func TestAfter(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason   string
		attempt  int
		welcomed bool
		lived    time.Duration
		want     int
	}{
		"Refused":        {reason: "Nobody answers: waits go on growing.", attempt: 7, lived: time.Second, want: 7},
		"BrieflyThere":   {reason: "Somebody answers: no wait is long.", attempt: 7, welcomed: true, lived: time.Second, want: 2},
		"BrieflyAtFirst": {reason: "It does not make a short wait longer.", attempt: 1, welcomed: true, lived: time.Second, want: 1},
		"Steady":         {reason: "A connection that held was lost for another reason.", attempt: 7, welcomed: true, lived: time.Minute, want: 0},
		"Silent":         {reason: "A proxy that holds a connection is not refusing it.", attempt: 7, lived: time.Minute, want: 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := backoff.After(tc.attempt, tc.welcomed, tc.lived); got != tc.want {
				t.Errorf("%s\nAfter(%d, %t, %s): got %d, want %d", tc.reason, tc.attempt, tc.welcomed, tc.lived, got, tc.want)
			}
		})
	}
}
