package relay

import (
	"context"
	"errors"
	"fmt"
	"testing"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/fleet"
	"github.com/tandem-cd/tandem/shared/shard"
)

func TestEveryShardHasRoomForWhoTakesItOver(t *testing.T) {
	t.Parallel()
	s := newSessions(fleet.New())
	enter := func(replica string, of shard.Shard) (context.Context, error) {
		ctx, _, err := s.start(t.Context(), &relayv1.Hello{Cluster: "c", Replica: replica}, of, nil)
		return ctx, err
	}
	first, err := enter("replica-0", shard.Shard{Count: shard.Max})
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 2*shard.Max; i++ {
		if _, err := enter(fmt.Sprintf("replica-%d", i), shard.Shard{Index: i % shard.Max, Count: shard.Max}); err != nil {
			t.Fatalf("replica %d: %v", i, err)
		}
	}
	if _, err := enter("one too many", shard.Shard{Count: shard.Max}); !fault.Is(err, fault.Conflict) {
		t.Errorf("one too many: %v, want a conflict", err)
	}
	if _, err := enter("leader", shard.Shard{Count: 2}); err != nil {
		t.Errorf("with another number of shards: %v; the former ones count no longer", err)
	}
	if cause := context.Cause(first); !errors.Is(cause, errDivided) || len(s.open["c"]) != 1 {
		t.Errorf("the former ones: %v, %d are left", cause, len(s.open["c"]))
	}
}
