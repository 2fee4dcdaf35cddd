package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/kubecluster"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"

	"github.com/tandem-cd/tandem/integration/bench/measure"
)

// concurrency of the bare client, where the API server's throughput stops to grow.
const concurrency = 32

// Apply compares the first apply of many objects with a client that does nothing but apply.
type Apply struct {
	Objects int `json:"objects"`
	// Tandem is from the making of the Sync to the end of its apply: fetch, verification and rendering included.
	Tandem float64 `json:"tandem_s"`
	// Bare is a parallel server-side apply of the same objects, already parsed.
	Bare  float64 `json:"bare_client_s"`
	Ratio float64 `json:"ratio"`
	// Requests of the Sync's account for each object.
	Requests float64 `json:"requests_per_object"`
	Pairs    int     `json:"pairs"`
}

// Change compares the way of a one-object commit with the bare apply of one object.
type Change struct {
	// Tandem is from the announcement to the end of the apply.
	Tandem measure.Spread `json:"tandem"`
	// Bare is one server-side apply of such an object.
	Bare    measure.Spread `json:"bare_apply"`
	Samples int            `json:"samples"`
}

// firstApply measures both in turn, each first every other time. What the last pair made stays: load-0 and bare-0.
func (b *bench) firstApply(ctx context.Context, report *Report) error {
	var tandem, baseline []time.Duration
	for i := b.opts.Pairs - 1; i >= 0; i-- {
		if err := b.pair(ctx, i, &tandem, &baseline); err != nil {
			return err
		}
		b.opts.Say("  Tandem %.2f s, bare client %.2f s", tandem[len(tandem)-1].Seconds(), baseline[len(baseline)-1].Seconds())
	}
	requests, err := b.world.Kube.Requests("")
	if err != nil {
		return err
	}
	written := 0
	for _, r := range requests {
		if r.Impersonated != "" && r.Verb == "patch" && strings.HasPrefix(r.Name, "load-") {
			written++
		}
	}
	report.FirstApply = Apply{
		Objects: b.opts.Objects, Pairs: b.opts.Pairs, Tandem: seconds(median(tandem)), Bare: seconds(median(baseline)),
		Ratio: ratio(median(tandem), median(baseline)), Requests: float64(written) / float64(b.opts.Objects*b.opts.Pairs),
	}
	return nil
}

func (b *bench) pair(ctx context.Context, i int, tandem, baseline *[]time.Duration) error {
	measure := []struct {
		what  string
		apply func(context.Context, int) (time.Duration, error)
		into  *[]time.Duration
	}{{"bare client", b.bareApply, baseline}, {"Tandem", b.syncApply, tandem}}
	if i%2 == 1 {
		slices.Reverse(measure)
	}
	for _, m := range measure {
		took, err := m.apply(ctx, i)
		if err != nil {
			return fmt.Errorf("%s: %w", m.what, err)
		}
		*m.into = append(*m.into, took)
	}
	if i == 0 {
		return nil
	}
	return b.clear(ctx, i)
}

func loadSync(i int) string { return fmt.Sprintf("load-%d", i) }

func bareNamespace(i int) string { return fmt.Sprintf("bare-%d", i) }

// syncApply has a new Sync apply a new workload.
func (b *bench) syncApply(ctx context.Context, i int) (time.Duration, error) {
	files := map[string]string{}
	for name, content := range Workload(fmt.Sprint(i), b.opts.Objects) {
		files[fmt.Sprintf("load/%d/%s", i, name)] = content
	}
	if _, err := b.world.Commit(ctx, gitserver.Change{Files: files, Message: "Load", Signer: b.world.Human}); err != nil {
		return 0, err
	}
	manifest := syncManifest(loadSync(i), fmt.Sprintf("load/%d", i))
	began := time.Now()
	if err := b.site.Apply(ctx, manifest); err != nil {
		return 0, err
	}
	events, err := b.world.WaitEvents(ctx, &statusv1.EventFilter{SyncName: loadSync(i)}, has(statusv1.EventState_EVENT_STATE_APPLIED))
	if err != nil {
		return 0, err
	}
	applied := events[len(events)-1]
	if failed := applied.GetObjects().GetNotApplied(); failed > 0 || len(applied.GetProblems()) > 0 {
		return 0, fmt.Errorf("%s: %d objects not applied: %v", loadSync(i), failed, applied.GetProblems())
	}
	_, err = b.world.WaitSync(ctx, site, loadSync(i), env.Healthy)
	return applied.GetTime().AsTime().Sub(began), err
}

func syncManifest(name, path string) string {
	return fmt.Sprintf("apiVersion: tandem.dev/v1alpha1\nkind: Sync\nmetadata: {name: %s}\nspec:\n  source: {repository: %s, ref: refs/heads/main}\n  path: %s\n  deletionPolicy: delete\n",
		name, env.Repository, path)
}

func has(state statusv1.EventState) func([]*statusv1.Event) bool {
	return func(events []*statusv1.Event) bool {
		return len(events) > 0 && events[len(events)-1].GetState() == state
	}
}

// bareApply applies the same objects to a namespace of its own.
func (b *bench) bareApply(ctx context.Context, i int) (time.Duration, error) {
	var texts []string
	for n := range b.opts.Objects {
		texts = append(texts, Object(fmt.Sprint(i), n, ""))
	}
	applied, _, err := b.applyBare(ctx, bareNamespace(i), texts)
	return applied, err
}

// applyBare applies objects to a new namespace. It returns how long that took, and how long until the controllers had rolled
// out all Deployments.
func (b *bench) applyBare(ctx context.Context, namespace string, texts []string) (applied, healthy time.Duration, err error) {
	_, err = b.world.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil {
		return 0, 0, err
	}
	client, err := b.bareClient()
	if err != nil {
		return 0, 0, err
	}
	objects := make([]manifest, len(texts))
	for i, text := range texts {
		if objects[i], err = parse(text); err != nil {
			return 0, 0, err
		}
	}
	began := time.Now()
	group, applying := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for _, m := range objects {
		group.Go(func() error { return m.apply(applying, client, namespace) })
	}
	if err := group.Wait(); err != nil {
		return 0, 0, err
	}
	applied = time.Since(began)
	err = b.settled(ctx, namespace)
	return applied, time.Since(began), err
}

func (b *bench) bareClient() (dynamic.Interface, error) {
	config, err := b.world.Kube.RESTConfig(kubecluster.Admin)
	if err != nil {
		return nil, err
	}
	return dynamic.NewForConfig(config)
}

// manifest is a parsed object and where it goes.
type manifest struct {
	resource schema.GroupVersionResource
	name     string
	body     []byte
}

func parse(text string) (manifest, error) {
	var object metav1.PartialObjectMetadata
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		return manifest{}, err
	}
	body, err := yaml.YAMLToJSON([]byte(text))
	version, _ := schema.ParseGroupVersion(object.APIVersion)
	return manifest{resource: version.WithResource(plural(object.Kind)), name: object.Name, body: body}, err
}

// plural is what the API server calls the kinds of this benchmark.
func plural(kind string) string {
	kind = strings.ToLower(kind)
	if strings.HasSuffix(kind, "s") {
		return kind + "es"
	}
	return kind + "s"
}

func (m manifest) apply(ctx context.Context, client dynamic.Interface, namespace string) error {
	force := true
	_, err := client.Resource(m.resource).Namespace(namespace).Patch(ctx, m.name, types.ApplyPatchType, m.body, metav1.PatchOptions{FieldManager: "bare", Force: &force})
	return err
}

// changes measures one-object commits in a large Sync, and bare applies in turn.
func (b *bench) changes(ctx context.Context, report *Report) error {
	client, err := b.bareClient()
	if err != nil {
		return err
	}
	var tandem, baseline []time.Duration
	for n := range b.opts.Changes {
		took, err := b.change(ctx, n)
		if err != nil {
			return err
		}
		tandem = append(tandem, took)
		m, err := parse(Object("0", 0, fmt.Sprintf("bare %d", n)))
		if err != nil {
			return err
		}
		began := time.Now()
		if err := m.apply(ctx, client, "bare-0"); err != nil {
			return err
		}
		baseline = append(baseline, time.Since(began))
	}
	report.Change = Change{Tandem: measure.Of(tandem), Bare: measure.Of(baseline), Samples: len(tandem)}
	return nil
}

// change commits a change of one object and returns the time from its announcement to the end of its apply.
func (b *bench) change(ctx context.Context, n int) (time.Duration, error) {
	var file strings.Builder
	for i := range perFile {
		note := ""
		if i == 0 {
			note = fmt.Sprintf("change %d", n)
		}
		file.WriteString("---\n" + Object("0", i, note))
	}
	commit, err := b.world.Commit(ctx, gitserver.Change{
		Files: map[string]string{"load/0/part-00/objects-0000.yaml": file.String()}, Message: "Change", Signer: b.world.Human,
	})
	if err != nil {
		return 0, err
	}
	events, err := b.world.WaitEvents(ctx, &statusv1.EventFilter{Commit: commit}, func(events []*statusv1.Event) bool {
		_, announced := at(events, statusv1.EventState_EVENT_STATE_ANNOUNCED)
		_, applied := at(events, statusv1.EventState_EVENT_STATE_APPLIED)
		return announced && applied
	})
	if err != nil {
		return 0, err
	}
	announced, _ := at(events, statusv1.EventState_EVENT_STATE_ANNOUNCED)
	applied, _ := at(events, statusv1.EventState_EVENT_STATE_APPLIED)
	_, err = b.world.WaitSync(ctx, site, loadSync(0), env.HealthyAt(commit))
	return applied.Sub(announced), err
}

func at(events []*statusv1.Event, state statusv1.EventState) (time.Time, bool) {
	for _, e := range events {
		if e.GetState() == state {
			return e.GetTime().AsTime(), true
		}
	}
	return time.Time{}, false
}

// JSON is the report on one line.
func (r Report) JSON() ([]byte, error) { return json.Marshal(r) }
