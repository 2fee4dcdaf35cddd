package automator

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAHintNeverDelaysAFetch(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		hinted     bool
		rest, want time.Duration
	}{
		"NoHint":     {false, 0, 30 * time.Second},
		"Hint":       {true, 0, 0},
		"ShortRest":  {true, time.Second, time.Second},
		"LongerRest": {true, 10 * time.Minute, 30 * time.Second},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				hinted := make(chan struct{}, 1)
				if tc.hinted {
					signal(hinted)
				}
				began := time.Now()
				if err := sleep(t.Context(), 30*time.Second, hinted, func() time.Duration { return tc.rest }); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != tc.want {
					t.Errorf("fetched after %s, want %s", took, tc.want)
				}
			})
		})
	}
}
