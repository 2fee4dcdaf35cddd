package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/printable"
)

// completionTimeout bounds what a shell waits for words.
const completionTimeout = 2 * time.Second

// reply is what a cluster said, part by part.
type reply struct {
	nodes     []*statusv1.TreeNode
	events    []*statusv1.ObjectEvent
	diffs     []*statusv1.DiffEntry
	summary   *statusv1.DiffSummary
	omissions []*statusv1.Omission
}

func (w *reply) take(part *statusv1.AskResponse) {
	switch p := part.GetPart().(type) {
	case *statusv1.AskResponse_Node:
		w.nodes = append(w.nodes, p.Node)
	case *statusv1.AskResponse_Event:
		w.events = append(w.events, p.Event)
	case *statusv1.AskResponse_Diff:
		w.diffs = append(w.diffs, p.Diff)
	case *statusv1.AskResponse_Summary:
		w.summary = p.Summary
	case *statusv1.AskResponse_Omission:
		w.omissions = append(w.omissions, p.Omission)
	}
}

// syncArgs reads CLUSTER and NAMESPACE/NAME.
func syncArgs(args []string) (*statusv1.SyncKey, error) {
	namespace, name, ok := strings.Cut(args[1], "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%q names no Sync: want NAMESPACE/NAME", args[1])
	}
	return &statusv1.SyncKey{Cluster: args[0], Namespace: namespace, Name: name}, nil
}

// ask has a cluster answer a question.
func (a *app) ask(ctx context.Context, req *statusv1.AskRequest) (*reply, error) {
	whole := &reply{}
	err := a.connected(func(conn *grpc.ClientConn) error {
		stream, err := statusv1.NewStatusServiceClient(conn).Ask(ctx, req)
		if err != nil {
			return err
		}
		for {
			part, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			whole.take(part)
		}
	})
	return whole, err
}

// asks makes a command that asks something about a Sync.
func (a *app) asks(cmd *cobra.Command, question func(*statusv1.AskRequest), show func(*reply) error) *cobra.Command {
	cmd.Args = cobra.ExactArgs(2)
	cmd.ValidArgsFunction = a.completeSync
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		sync, err := syncArgs(args)
		if err != nil {
			return err
		}
		req := &statusv1.AskRequest{Sync: sync}
		question(req)
		whole, err := a.ask(cmd.Context(), req)
		if err != nil {
			return err
		}
		return show(whole)
	}
	return cmd
}

// completeSync offers clusters, then their Syncs.
func (a *app) completeSync(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	var words []string
	err := a.connected(func(conn *grpc.ClientConn) error {
		filter := &statusv1.SyncFilter{}
		if len(args) > 0 {
			filter.Cluster = args[0]
		}
		view, err := gather(ctx, conn, filter)
		if err != nil {
			return err
		}
		switch len(args) {
		case 0:
			for _, cluster := range view.clusters {
				words = append(words, cluster.GetName())
			}
		case 1:
			for _, sync := range view.syncs {
				words = append(words, sync.GetNamespace()+"/"+sync.GetName())
			}
		}
		return nil
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// rawLists prints lists of messages as one document.
func (a *app) rawLists(lists map[string][]proto.Message) error { return a.rawDocument(lists, nil) }

// rawDocument prints lists of messages, and messages by themselves, as one document.
func (a *app) rawDocument(lists map[string][]proto.Message, single map[string]proto.Message) error {
	whole := map[string]any{}
	for name, messages := range lists {
		list := []json.RawMessage{}
		for _, message := range messages {
			raw, err := marshal(message)
			if err != nil {
				return err
			}
			list = append(list, raw)
		}
		whole[name] = list
	}
	for name, message := range single {
		raw, err := marshal(message)
		if err != nil {
			return err
		}
		whole[name] = json.RawMessage(raw)
	}
	raw, err := json.Marshal(whole)
	if err != nil {
		return err
	}
	return a.raw(raw)
}

// printOmissions says what an answer lacks.
func (a *app) printOmissions(whole *reply) error {
	for _, o := range whole.omissions {
		if _, err := fmt.Fprintf(a.out, "Not shown: %s: %s\n", printable.Line(o.GetWhat()), printable.Line(o.GetReason())); err != nil {
			return err
		}
	}
	return nil
}
