package cli

import (
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

func (a *app) events() *cobra.Command {
	return a.asks(&cobra.Command{
		Use:   "events CLUSTER NAMESPACE/NAME",
		Short: "Show the Kubernetes Events about a Sync, its objects and what they own",
		Long: `Show the Kubernetes Events about a Sync, its objects and what they own, the newest first.

The cluster itself is asked, at this moment; Kubernetes forgets Events after an hour or so. For the life of releases see
"tandem watch --since". The cluster's administrator decides whether it answers, under "queries" in the synchronizer's
configuration.`,
		Example: "  tandem events prod-eu shop/web\n  tandem events prod-eu shop/web -o json | jq '.events[] | select(.type == \"Warning\")'",
	}, func(req *statusv1.AskRequest) {
		req.Question = &statusv1.AskRequest_Events{Events: &statusv1.EventsQuestion{}}
	}, a.printEvents)
}

func (a *app) printEvents(whole *reply) error {
	if a.format != formatTable {
		return a.rawLists(map[string][]proto.Message{"events": asMessages(whole.events), "omissions": asMessages(whole.omissions)})
	}
	if err := table(a.out, "AGE TYPE REASON OBJECT COUNT MESSAGE", eventRows(whole.events)); err != nil {
		return err
	}
	return a.printOmissions(whole)
}

func eventRows(events []*statusv1.ObjectEvent) [][]string {
	rows := make([][]string, 0, len(events))
	for _, e := range events {
		rows = append(rows, []string{
			age(e.GetTime()), e.GetType(), e.GetReason(), e.GetObject(), strconv.Itoa(int(e.GetCount())), orElse(e.GetMessage(), "-"),
		})
	}
	return rows
}
