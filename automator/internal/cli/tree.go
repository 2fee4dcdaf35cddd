package cli

import (
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

func (a *app) tree() *cobra.Command {
	return a.asks(&cobra.Command{
		Use:   "tree CLUSTER NAMESPACE/NAME",
		Short: "Show the objects of a Sync, what they own in turn, and how they are",
		Long: `Show the objects of a Sync, what they own in turn, and how they are.

The cluster itself is asked, at this moment: Deployments show their ReplicaSets and Pods, CronJobs their Jobs, Services
their EndpointSlices. What the synchronizer may not look at is said below the tree. The cluster's administrator decides
whether it answers, under "queries" in the synchronizer's configuration.`,
		Example: "  tandem tree prod-eu shop/web\n  tandem tree prod-eu shop/web -o json | jq '.nodes[] | select(.health != \"Current\")'",
	}, func(req *statusv1.AskRequest) {
		req.Question = &statusv1.AskRequest_Tree{Tree: &statusv1.TreeQuestion{}}
	}, a.printTree)
}

func (a *app) printTree(whole *reply) error {
	if a.format != formatTable {
		return a.rawLists(map[string][]proto.Message{"nodes": asMessages(whole.nodes), "omissions": asMessages(whole.omissions)})
	}
	if err := table(a.out, "OBJECT HEALTH AGE WHY", treeRows(whole.nodes)); err != nil {
		return err
	}
	return a.printOmissions(whole)
}

// maxIndent is how far a tree is drawn to the right: a cluster of bad faith may say that each object owns the next.
const maxIndent = 32

// treeRows draws a tree. Nodes come after their owners.
func treeRows(nodes []*statusv1.TreeNode) [][]string {
	owned := map[string][]*statusv1.TreeNode{}
	known := map[string]bool{}
	for _, node := range nodes {
		owner := node.GetOwner()
		if !known[owner] {
			owner = ""
		}
		owned[owner] = append(owned[owner], node)
		known[node.GetObject()] = true
	}
	var rows [][]string
	var draw func(owner, indent string, depth int)
	draw = func(owner, indent string, depth int) {
		list := owned[owner]
		delete(owned, owner) // an object that claims to own itself is drawn once
		for i, node := range list {
			branch, below := "├─ ", "│  "
			if i == len(list)-1 {
				branch, below = "└─ ", "   "
			}
			switch {
			case depth == 0:
				branch, below = "", ""
			case depth >= maxIndent:
				below = ""
			}
			rows = append(rows, []string{
				indent + branch + node.GetObject(), node.GetHealth(), age(node.GetCreated()), orElse(node.GetMessage(), "-"),
			})
			draw(node.GetObject(), indent+below, depth+1)
		}
	}
	draw("", "", 0)
	return rows
}
