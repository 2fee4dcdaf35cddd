package cli

import (
	"fmt"
	"testing"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

func TestAChainOfOwnersIsNotDrawnWiderAndWider(t *testing.T) {
	t.Parallel()
	const chain = 5000
	nodes := []*statusv1.TreeNode{{Object: "Pod/shop/0"}}
	for i := 1; i < chain; i++ {
		nodes = append(nodes, &statusv1.TreeNode{Object: fmt.Sprintf("Pod/shop/%d", i), Owner: fmt.Sprintf("Pod/shop/%d", i-1)})
	}
	rows := treeRows(nodes)
	if len(rows) != chain {
		t.Fatalf("%d of %d objects are drawn", len(rows), chain)
	}
	if last := rows[chain-1][0]; len(last) > 400 {
		t.Errorf("the last line has %d bytes", len(last))
	}
}
