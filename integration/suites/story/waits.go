package story

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/integration/env"
	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

type gateContext = context.Context

var errNotYet = errors.New("not yet")

func (s *Teller) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, patience)
}

// until looks again and again at what cannot be watched.
func (s *Teller) until(fn func(context.Context) error) error {
	ctx, cancel := s.bounded()
	defer cancel()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

func (s *Teller) waitSync(site, name string, ok env.Condition) error {
	ctx, cancel := s.bounded()
	defer cancel()
	_, err := s.World.WaitSync(ctx, site, name, ok)
	return err
}

// runs waits until the sample's pods run a tag's digest and all is healthy.
func runs(s *Teller, _ *testscript.TestScript, args []string) error {
	site := home
	if len(args) > 1 {
		site = args[1]
	}
	digest := s.pushed[args[0]].Digest
	return s.waitSync(site, env.SampleSync, func(sync *statusv1.Sync) bool {
		return env.Healthy(sync) && len(sync.GetImages()) == 1 && sync.GetImages()[0].GetDigest() == digest
	})
}

// state waits until a Sync is in a state, such as REFUSED.
func state(s *Teller, _ *testscript.TestScript, args []string) error {
	want := statusv1.SyncState(statusv1.SyncState_value["SYNC_STATE_"+args[1]])
	return s.waitSync(home, args[0], func(sync *statusv1.Sync) bool { return sync.GetState() == want })
}

// problem waits until a problem is reported that matches, as "file:line object: message", and stands on the resource too.
func problem(s *Teller, _ *testscript.TestScript, args []string) error {
	pattern, err := regexp.Compile(args[1])
	if err != nil {
		return err
	}
	var found *statusv1.Problem
	err = s.waitSync(home, args[0], func(sync *statusv1.Sync) bool {
		at := slices.IndexFunc(sync.GetProblems(), func(p *statusv1.Problem) bool { return pattern.MatchString(problemText(p)) })
		if at >= 0 {
			found = sync.GetProblems()[at]
		}
		return at >= 0
	})
	if err != nil {
		return err
	}
	return s.until(func(ctx context.Context) error {
		object, err := s.client("syncs").Get(ctx, args[0], metav1.GetOptions{})
		if err != nil {
			return err
		}
		status, _ := json.Marshal(object.Object["status"])
		message, _ := json.Marshal(found.GetMessage())
		if !bytes.Contains(status, bytes.Trim(message, `"`)) {
			return fmt.Errorf("the resource does not say %s", message)
		}
		return nil
	})
}

func problemText(p *statusv1.Problem) string {
	return fmt.Sprintf("%s:%d %s: %s", p.GetFile(), p.GetLine(), p.GetObject(), p.GetMessage())
}

// fine waits until a Sync is healthy at the branch's tip and has no problem; with a time, for as long.
func fine(s *Teller, _ *testscript.TestScript, args []string) error {
	tip, err := s.World.Git.Tip(s.ctx, env.Repository, "refs/heads/main")
	if err != nil {
		return err
	}
	wait := patience
	if len(args) > 1 {
		if wait, err = time.ParseDuration(args[1]); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(s.ctx, wait)
	defer cancel()
	_, err = s.World.WaitSync(ctx, home, args[0], func(sync *statusv1.Sync) bool {
		return env.HealthyAt(tip)(sync) && len(sync.GetProblems()) == 0
	})
	return err
}

// pipelineProblem waits until the automator reports a problem that matches, as "file:line: message".
func pipelineProblem(s *Teller, _ *testscript.TestScript, args []string) error {
	pattern, err := regexp.Compile(args[0])
	if err != nil {
		return err
	}
	return s.until(func(ctx context.Context) error {
		client, err := s.World.Pipelines()
		if err != nil {
			return err
		}
		resp, err := client.ListPipelines(ctx, &pipelinev1.ListPipelinesRequest{})
		if err != nil {
			return err
		}
		var texts []string
		for _, p := range resp.GetProblems() {
			text := fmt.Sprintf("%s:%d: %s", p.GetFile(), p.GetLine(), p.GetMessage())
			if pattern.MatchString(text) {
				return nil
			}
			texts = append(texts, text)
		}
		return fmt.Errorf("%w: the automator reports %q", errNotYet, texts)
	})
}

// event waits for a stored event whose message or problems match.
func event(s *Teller, _ *testscript.TestScript, args []string) error {
	pattern, err := regexp.Compile(args[1])
	if err != nil {
		return err
	}
	want := statusv1.EventState(statusv1.EventState_value["EVENT_STATE_"+args[0]])
	ctx, cancel := s.bounded()
	defer cancel()
	_, err = s.World.WaitEvents(ctx, &statusv1.EventFilter{States: []statusv1.EventState{want}}, func(events []*statusv1.Event) bool {
		return slices.ContainsFunc(events, func(e *statusv1.Event) bool {
			texts := []string{e.GetMessage()}
			for _, p := range e.GetProblems() {
				texts = append(texts, problemText(p))
			}
			return pattern.MatchString(strings.Join(texts, "\n"))
		})
	})
	return err
}

// commits checks how many commits of the automator the branch has.
func commits(s *Teller, _ *testscript.TestScript, args []string) error {
	want, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	log, err := s.World.Git.Git(s.ctx, env.Repository, "log", "--format=%(trailers:key=Tandem-Image,separator=%x2C)", "main")
	if err != nil {
		return err
	}
	got := 0
	for line := range strings.Lines(log) {
		if strings.TrimSpace(line) != "" {
			got++
		}
	}
	if got != want {
		return fmt.Errorf("the branch has %d commits of the automator, want %d:\n%s", got, want, log)
	}
	return nil
}

// once waits until every step of the newest release is in the event log, and checks that each is there exactly once.
func once(s *Teller, _ *testscript.TestScript, _ []string) error {
	tip, err := s.World.Git.Tip(s.ctx, env.Repository, "refs/heads/main")
	if err != nil {
		return err
	}
	ctx, cancel := s.bounded()
	defer cancel()
	_, err = s.World.WaitEvents(ctx, &statusv1.EventFilter{Commit: tip}, func(events []*statusv1.Event) bool {
		return !slices.ContainsFunc(releaseSteps(), func(step statusv1.EventState) bool { return counts(events)[step] == 0 })
	})
	if err != nil {
		return err
	}
	events, err := s.World.Events(ctx, &statusv1.EventFilter{Commit: tip})
	if err != nil {
		return err
	}
	for _, want := range releaseSteps() {
		if n := counts(events)[want]; n != 1 {
			return fmt.Errorf("%s is in the log %d times for %s, want once", want, n, tip)
		}
	}
	return nil
}

// releaseSteps are what the log has of a release that went well.
func releaseSteps() []statusv1.EventState {
	return []statusv1.EventState{
		statusv1.EventState_EVENT_STATE_COMMITTED, statusv1.EventState_EVENT_STATE_ANNOUNCED, statusv1.EventState_EVENT_STATE_RECEIVED,
		statusv1.EventState_EVENT_STATE_VERIFIED, statusv1.EventState_EVENT_STATE_APPLIED, statusv1.EventState_EVENT_STATE_HEALTHY,
	}
}

func counts(events []*statusv1.Event) map[statusv1.EventState]int {
	n := map[statusv1.EventState]int{}
	for _, e := range events {
		n[e.GetState()]++
	}
	return n
}

// kube looks at or changes an object of the site's namespace as a person with kubectl does.
func kube(s *Teller, ts *testscript.TestScript, args []string) error {
	client, name := s.client(args[1]), args[2]
	switch args[0] {
	case "get":
		object, err := client.Get(s.ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		unstructured.RemoveNestedField(object.Object, "metadata", "managedFields")
		text, err := yaml.Marshal(object.Object)
		fmt.Fprintf(ts.Stdout(), "%s", text)
		return err
	case "edit":
		_, err := client.Patch(s.ctx, name, types.MergePatchType, []byte(args[3]), metav1.PatchOptions{FieldManager: editor(args)})
		return err
	case "would":
		return s.until(func(ctx context.Context) error {
			by := metav1.PatchOptions{FieldManager: editor(nil), DryRun: []string{metav1.DryRunAll}}
			object, err := client.Patch(ctx, name, types.MergePatchType, []byte(args[3]), by)
			if err != nil {
				return err
			}
			return matches(object, args[4])
		})
	case "delete":
		return client.Delete(s.ctx, name, metav1.DeleteOptions{})
	case "gone":
		return s.until(func(ctx context.Context) error {
			_, err := client.Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return errors.Join(errNotYet, err)
		})
	case "shows", "lacks":
		return s.until(func(ctx context.Context) error {
			object, err := client.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if args[0] == "lacks" {
				return lacks(object, args[3])
			}
			return matches(object, args[3])
		})
	case "uid":
		object, err := client.Get(s.ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		ts.Setenv("UID", string(object.GetUID()))
		return nil
	}
	return fmt.Errorf("kube %s: not one of get, edit, would, delete, gone, shows, lacks, uid", args[0])
}

// editor is who edits: a person with kubectl, or the manager that "kube edit KIND NAME PATCH MANAGER" names.
func editor(args []string) string {
	if len(args) > 4 {
		return args[4]
	}
	return "kubectl-edit"
}

// matches reports that an object's YAML does not match yet.
func matches(object *unstructured.Unstructured, pattern string) error {
	unstructured.RemoveNestedField(object.Object, "metadata", "managedFields")
	text, err := yaml.Marshal(object.Object)
	if matched, _ := regexp.Match(pattern, text); !matched {
		return errors.Join(fmt.Errorf("%w: %s", errNotYet, text), err)
	}
	return err
}

// lacks reports that an object's YAML matches still.
func lacks(object *unstructured.Unstructured, pattern string) error {
	if err := matches(object, pattern); !errors.Is(err, errNotYet) {
		return errors.Join(fmt.Errorf("%w: %q is still there", errNotYet, pattern), err)
	}
	return nil
}

// client is the administrator's client of a resource in the site's namespace, or in that of resource@namespace.
func (s *Teller) client(resource string) dynamic.ResourceInterface {
	resource, namespace, elsewhere := strings.Cut(resource, "@")
	if !elsewhere {
		namespace = s.World.Sites[home].Namespace
	}
	gvr := schema.GroupVersionResource{Version: "v1", Resource: resource}
	switch resource {
	case "namespaces":
		return s.World.Dynamic.Resource(gvr)
	case "customresourcedefinitions":
		gvr.Group = "apiextensions.k8s.io"
		return s.World.Dynamic.Resource(gvr)
	case "validatingwebhookconfigurations":
		gvr.Group = "admissionregistration.k8s.io"
		return s.World.Dynamic.Resource(gvr)
	case "gears", "widgets":
		gvr.Group = "stories.example.com"
	case "deployments":
		gvr.Group = "apps"
	case "jobs":
		gvr.Group = "batch"
	case "syncs":
		gvr.Group, gvr.Version = "tandem.dev", "v1alpha1"
	}
	return s.World.Dynamic.Resource(gvr).Namespace(namespace)
}

// reads are the requests by which an automator looks at a registry.
func reads(r *http.Request) bool { return strings.Contains(r.UserAgent(), "tandem") }

// writeLoose writes a blob of other content as a loose object, as a bad disk or a thief would.
func writeLoose(path string) error {
	var packed bytes.Buffer
	zip := zlib.NewWriter(&packed)
	content := "kind: Evil\n"
	if _, err := fmt.Fprintf(zip, "blob %d\x00%s", len(content), content); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a mirror's own mode
		return err
	}
	_ = os.Remove(path) // git makes objects read-only
	return os.WriteFile(path, packed.Bytes(), 0o600)
}
