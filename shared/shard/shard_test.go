package shard_test

import (
	"fmt"
	"testing"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/shard"
)

// TestOwnersNeverChange holds the function to values that were computed without it: printf %s shop/web | sha256sum.
func TestOwnersNeverChange(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		namespace, name string
		count, want     int
	}{
		"One":     {namespace: "shop", name: "web", count: 1, want: 0},
		"Two":     {namespace: "shop", name: "web", count: 2, want: 0},
		"Three":   {namespace: "shop", name: "web", count: 3, want: 1},
		"Sixteen": {namespace: "shop", name: "web", count: 16, want: 2},
		"Other":   {namespace: "infra", name: "ingress", count: 16, want: 4},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := shard.Of(tc.namespace, tc.name, tc.count); got != tc.want {
				t.Errorf("Of(%q, %q, %d): got %d, want %d", tc.namespace, tc.name, tc.count, got, tc.want)
			}
		})
	}
}

func TestEverySyncHasOneOwnerAndSharesAreEven(t *testing.T) {
	t.Parallel()
	const syncs = 16_000
	for count := 1; count <= shard.Max; count++ {
		owned := make([]int, count)
		for i := range syncs {
			owners := 0
			for index := range count {
				if (shard.Shard{Index: index, Count: count}).Owns("apps", fmt.Sprintf("app-%04d", i)) {
					owners++
					owned[index]++
				}
			}
			if owners != 1 {
				t.Fatalf("app-%04d has %d owners among %d shards, want 1", i, owners, count)
			}
		}
		for index, got := range owned {
			if fair := syncs / count; got < fair*85/100 || got > fair*115/100 {
				t.Errorf("shard %d of %d has %d Syncs, want about %d", index, count, got, fair)
			}
		}
	}
}

func TestNewRefusesWhatIsNoShard(t *testing.T) {
	t.Parallel()
	for _, numbers := range [][2]int32{{1, 0}, {2, 2}, {-1, 2}, {0, -1}, {0, shard.Max + 1}} {
		if _, err := shard.New(numbers[0], numbers[1]); !fault.Is(err, fault.Invalid) {
			t.Errorf("New(%d, %d): got %v, want Invalid", numbers[0], numbers[1], err)
		}
	}
	absent, err := shard.New(0, 0)
	if err != nil || !absent.All() || !absent.Owns("any", "thing") {
		t.Errorf("New(0, 0): got %v, %v; want all Syncs", absent, err)
	}
}
