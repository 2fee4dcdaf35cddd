package chaos

import (
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/integration/env"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/revision"
)

// resources are the kinds that the sample application has, and that could be left behind.
func resources() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		{Version: "v1", Resource: "configmaps"},
		{Version: "v1", Resource: "services"},
		{Version: "v1", Resource: "secrets"},
		{Group: "apps", Version: "v1", Resource: "deployments"},
	}
}

// gather asks Git, the automator, the API server and the process table.
func (s *Scene) gather(ctx context.Context) (facts Facts, err error) {
	for _, ask := range []func(context.Context, *Facts) error{s.askGit, s.askEvents, s.askSync, s.askCluster} {
		if err := ask(ctx, &facts); err != nil {
			return facts, err
		}
	}
	facts.Orphans = orphans(s.World.Dir())
	return facts, nil
}

func (s *Scene) askGit(ctx context.Context, facts *Facts) error {
	at, err := s.branch(ctx)
	facts.Branch = at.commits
	return err
}

// mainRef is the branch that everybody writes to.
const mainRef = "refs/heads/main"

// branch is what the branch has at a tip.
type branch struct {
	tip     string
	commits []Commit
	desired []*unstructured.Unstructured
}

// branch reads the branch, anew when it has moved.
func (s *Scene) branch(ctx context.Context) (branch, error) {
	tip, err := s.World.Git.Tip(ctx, env.Repository, mainRef)
	if err != nil || tip == s.at.tip {
		return s.at, err
	}
	log, err := s.World.Git.Log(ctx, env.Repository, tip)
	if err != nil {
		return branch{}, err
	}
	at := branch{tip: tip}
	for _, c := range log {
		tree, err := s.tree(ctx, c.ID)
		if err != nil {
			return branch{}, err
		}
		at.commits = append(at.commits, Commit{ID: c.ID, Tree: tree, Images: imagesOf(c.Message)})
	}
	if at.desired, err = s.desired(ctx, tip); err != nil {
		return branch{}, err
	}
	s.at = at
	return at, nil
}

// tree is what the cluster receives of a commit.
func (s *Scene) tree(ctx context.Context, commit string) (string, error) {
	if tree := s.trees[commit]; tree != "" {
		return tree, nil
	}
	out, err := s.World.Git.Git(ctx, env.Repository, "rev-parse", commit+":env/"+site)
	if err == nil {
		s.trees[commit] = strings.TrimSpace(out)
	}
	return s.trees[commit], err
}

// imagesOf reads the trailers of the automator: Tandem-Image: name=repository:tag@digest.
func imagesOf(message string) []string {
	var images []string
	for line := range strings.Lines(message) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "Tandem-Image: "); ok {
			_, reference, _ := strings.Cut(value, "=")
			at := strings.LastIndex(reference, "/")
			_, tagged, _ := strings.Cut(reference[at+1:], ":")
			images = append(images, tagged)
		}
	}
	return images
}

func (s *Scene) askEvents(ctx context.Context, facts *Facts) error {
	events, err := s.World.Events(ctx, nil)
	if err != nil {
		return err
	}
	for _, e := range events {
		commit := commitOf(e.GetRevision().GetCommit().GetValue())
		fact := Event{ID: hex.EncodeToString(e.GetId()), State: name(e.GetState()), Commit: commit, Sync: e.GetSyncUid(), Attempt: e.GetAttempt()}
		if commit != "" {
			if fact.Tree, err = s.tree(ctx, commit); err != nil {
				return err
			}
		}
		facts.Events = append(facts.Events, fact)
	}
	return nil
}

func commitOf(value []byte) string { return hex.EncodeToString(value) }

func (s *Scene) askSync(ctx context.Context, facts *Facts) error {
	client, err := s.World.Status()
	if err != nil {
		return err
	}
	answer, err := client.ListSyncs(ctx, &statusv1.ListSyncsRequest{Filter: &statusv1.SyncFilter{Cluster: site, Name: env.SampleSync}})
	if err != nil {
		return err
	}
	if len(answer.GetSyncs()) != 1 {
		return fmt.Errorf("%w: the automator knows %d Syncs, want 1", errNotWell, len(answer.GetSyncs()))
	}
	sync := answer.GetSyncs()[0]
	facts.State = strings.TrimPrefix(sync.GetState().String(), "SYNC_STATE_")
	if at, err := revision.FromProto(sync.GetHealthy().GetRevision()); err == nil {
		if facts.Tree, err = s.tree(ctx, at.Commit.String()); err != nil {
			return err
		}
	}
	for _, i := range sync.GetImages() {
		facts.Digests = append(facts.Digests, i.GetDigest())
	}
	slices.Sort(facts.Digests)
	for _, p := range sync.GetProblems() {
		facts.Problems = append(facts.Problems, p.GetMessage())
	}
	return nil
}

// askCluster compares what is live with what Git has.
func (s *Scene) askCluster(ctx context.Context, facts *Facts) error {
	at, err := s.branch(ctx)
	if err != nil {
		return err
	}
	live, err := s.objects(ctx)
	if err != nil {
		return err
	}
	facts.Live = uids(live)
	for _, object := range at.desired {
		name := nameOf(object)
		facts.Wanted = append(facts.Wanted, name)
		if live[name] == nil {
			continue // that it is missing is said already
		}
		if path := differs(object.Object, live[name].Object); path != "" {
			facts.Differs = append(facts.Differs, fmt.Sprintf("%s differs from Git at %s", name, path))
		}
	}
	return nil
}

// nameOf is Kind/name.
func nameOf(object *unstructured.Unstructured) string {
	return object.GetKind() + "/" + object.GetName()
}

func uids(objects map[string]*unstructured.Unstructured) map[string]string {
	ids := map[string]string{}
	for name, object := range objects {
		ids[name] = string(object.GetUID())
	}
	return ids
}

// desired are the objects that a commit has.
func (s *Scene) desired(ctx context.Context, commit string) ([]*unstructured.Unstructured, error) {
	names, err := s.World.Git.Git(ctx, env.Repository, "ls-tree", "-r", "--name-only", commit, "env/"+site+"/")
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for path := range strings.FieldsSeq(names) {
		if filepath.Ext(path) != ".yaml" {
			continue
		}
		content, err := s.World.Git.File(ctx, env.Repository, commit, path)
		if err != nil {
			return nil, err
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(content), &object.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// differs returns where live lacks something of desired, or has it otherwise; empty when it has all of it.
func differs(desired, live any) string {
	switch want := desired.(type) {
	case map[string]any:
		got, _ := live.(map[string]any)
		for key, value := range want {
			if path := differs(value, got[key]); path != "" {
				return "." + key + path
			}
		}
		return ""
	case []any:
		got, _ := live.([]any)
		for i, value := range want {
			if i >= len(got) {
				return fmt.Sprintf("[%d]", i)
			}
			if path := differs(value, got[i]); path != "" {
				return fmt.Sprintf("[%d]%s", i, path)
			}
		}
		return ""
	}
	if fmt.Sprint(desired) != fmt.Sprint(live) { // numbers have two types
		return fmt.Sprintf(" (%v, Git has %v)", live, desired)
	}
	return ""
}
