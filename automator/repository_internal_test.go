package automator

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/pipeline"
	"github.com/tandem-cd/tandem/automator/internal/relay"
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

func TestImagesThatAClusterMayAskAbout(t *testing.T) {
	t.Parallel()
	open := func(app, image, cluster string) *repository {
		r := &repository{}
		set := pipeline.Load(pipeline.Home{Repository: app, Branch: "main"}, map[string][]byte{".tandem/" + app + ".yaml": []byte(
			"version: 1\napp: " + app + "\nimages: [{name: main, repository: " + image + "}]\nenvironments: [{name: dev, path: env/dev, cluster: " + cluster + "}]\n",
		)})
		if len(set.Problems) > 0 {
			t.Fatal(set.Problems)
		}
		r.set.Store(&set)
		r.granted.Store(&map[string][]relay.Grant{cluster: {{}}})
		return r
	}
	both := repositories{"shop": open("shop", "ghcr.io/acme/shop", "dev"), "bank": open("bank", "ghcr.io/acme/bank", "prod")}
	starting := repositories{"shop": both["shop"], "bank": &repository{}}
	tests := map[string]struct {
		all            repositories
		cluster, image string
		named, known   bool
	}{
		"Own":                 {both, "dev", "ghcr.io/acme/shop", true, true},
		"OfAnother":           {both, "dev", "ghcr.io/acme/bank", false, true},
		"OfNobody":            {both, "dev", "ghcr.io/acme/else", false, true},
		"OfNoGrant":           {both, "stranger", "ghcr.io/acme/shop", false, true},
		"OwnWhileStarting":    {starting, "dev", "ghcr.io/acme/shop", true, true},
		"OthersWhileStarting": {starting, "dev", "ghcr.io/acme/bank", false, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if named, known := tc.all.name(tc.cluster, tc.image); named != tc.named || known != tc.known {
				t.Errorf("name(%q, %q) = %v, %v; want %v, %v", tc.cluster, tc.image, named, known, tc.named, tc.known)
			}
		})
	}
}
