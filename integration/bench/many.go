package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/kubecluster"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// manyTimeout bounds what many Syncs do.
const manyTimeout = 10 * time.Minute

func manySync(i int) string { return fmt.Sprintf("small-%04d", i) }

// small are the objects of a small Sync.
func small(i int) []string {
	name := manySync(i)
	return []string{
		fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: 0
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      serviceAccountName: %[1]s
      containers: [{name: main, image: "registry.example.com/small:1.0.0", ports: [{containerPort: 8080}]}]
`, name),
		fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  clusterIP: None
  selector: {app: %[1]s}
  ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP}]
`, name),
		fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s}\n", name),
		fmt.Sprintf(`apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: %[1]s}
spec:
  rules: [{host: %[1]s.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %[1]s, port: {number: 80}}}}]}}]
`, name),
	}
}

// many measures one commit for many Syncs.
func (b *syncBench) many(ctx context.Context, report *SyncReport) (err error) {
	if b.opts.Syncs <= 0 {
		return nil
	}
	b.opts.Say("One commit for %d Syncs of 4 objects, beside a bare client.", b.opts.Syncs)
	ctx, cancel := context.WithTimeout(ctx, manyTimeout)
	defer cancel()
	world, err := env.New(ctx, b.ground, env.Options{Name: "many", Sites: []string{site}, LogLevel: "warn", Profiles: b.opts.Profiles != ""})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	b.bench = &bench{world: world, site: world.Sites[site]}
	var bare time.Duration
	err = b.profiled("bare", func(ctx context.Context, report *SyncReport) (err error) {
		bare, err = b.bareMany(ctx, report)
		return err
	})(ctx, report)
	if err != nil {
		return fmt.Errorf("bare client: %w", err)
	}
	if err := b.makeMany(ctx); err != nil {
		return fmt.Errorf("before there are objects: %w", err)
	}
	if err := b.profiled("many", b.commitMany)(ctx, report); err != nil {
		return err
	}
	b.opts.Say("  Tandem %.2f s, bare client %.2f s", report.Many.Seconds, bare.Seconds())
	report.Many.Ratio = ratio(time.Duration(report.Many.Seconds*float64(time.Second)), bare)
	return nil
}

// countMany counts what the Syncs asked since a moment, and says which requests those were.
func (b *syncBench) countMany(since time.Time, report *SyncReport) error {
	requests, err := b.bench.world.Kube.Requests("")
	if err != nil {
		return err
	}
	ours := b.tell(requests, since)["Tandem"]
	report.Many.Requests = math.Round(float64(ours)/float64(b.opts.Syncs)*100) / 100
	return nil
}

// tell says who asked what since a moment, for each Sync, and returns how often each did.
func (b *syncBench) tell(requests []kubecluster.Request, since time.Time) map[string]int {
	asked, totals := map[string][]time.Time{}, map[string]int{}
	for _, r := range requests {
		if r.At.Before(since) {
			continue
		}
		who := asker(r.User)
		totals[who]++
		what := strings.TrimSuffix(who+": "+r.Verb+" "+r.Resource+"/"+r.Subresource, "/")
		asked[what] = append(asked[what], r.At)
	}
	for _, what := range slices.Sorted(maps.Keys(asked)) {
		times := asked[what]
		if each := float64(len(times)) / float64(b.opts.Syncs); each >= tellFrom {
			first, last := slices.MinFunc(times, time.Time.Compare), slices.MaxFunc(times, time.Time.Compare)
			b.opts.Say("  %.2f %s, from %.1f to %.1f s", each, what, first.Sub(since).Seconds(), last.Sub(since).Seconds())
		}
	}
	return totals
}

// tellFrom is how often something is asked for each Sync, at least, to be told of.
const tellFrom = 0.01

// asker is what people call a user of the API server.
func asker(user string) string {
	switch user {
	case env.SynchronizerUser:
		return "Tandem"
	case kubecluster.Admin:
		return "benchmark"
	default:
		return "controllers"
	}
}

// bareMany applies the same objects, and waits until the controllers have rolled out the Deployments.
func (b *syncBench) bareMany(ctx context.Context, report *SyncReport) (time.Duration, error) {
	var texts []string
	for i := range b.opts.Syncs {
		texts = append(texts, small(i)...)
	}
	before, err := b.bench.usage()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	_, healthy, err := b.bench.applyBare(ctx, "bare-many", texts)
	if err != nil {
		return 0, err
	}
	after, err := b.bench.usage()
	if err != nil {
		return 0, err
	}
	report.Many.BareProcessor = after.since(before)
	requests, err := b.bench.world.Kube.Requests("")
	b.tell(requests, began)
	return healthy, err
}

// makeMany makes the Syncs, of folders without objects.
func (b *syncBench) makeMany(ctx context.Context) error {
	empty := map[string]string{}
	for i := range b.opts.Syncs {
		empty["many/"+manySync(i)+"/README.md"] = "Nothing yet.\n"
	}
	if err := start(ctx, b.bench.world, "many", empty); err != nil {
		return err
	}
	if err := b.makeSyncs(ctx); err != nil {
		return err
	}
	return b.all(ctx, env.Healthy)
}

// commitMany commits objects for all Syncs at once.
func (b *syncBench) commitMany(ctx context.Context, report *SyncReport) error {
	full := map[string]string{}
	for i := range b.opts.Syncs {
		full["many/"+manySync(i)+"/objects.yaml"] = strings.Join(small(i), "---\n")
	}
	before, err := b.bench.usage()
	if err != nil {
		return err
	}
	world := b.bench.world
	commit, err := world.Commit(ctx, gitserver.Change{Files: full, Message: "Objects for all", Signer: world.Human})
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.all(ctx, env.HealthyAt(commit)); err != nil {
		return err
	}
	report.Many.Seconds = seconds(time.Since(began))
	after, err := b.bench.usage()
	if err != nil {
		return err
	}
	report.Many.Processor = after.since(before)
	return b.countMany(began, report)
}

func (b *syncBench) makeSyncs(ctx context.Context) error {
	group, making := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	resource := b.bench.world.Dynamic.Resource(v1alpha1.GroupVersionResource).Namespace(b.bench.site.Namespace)
	for i := range b.opts.Syncs {
		group.Go(func() error {
			m, err := parse(syncManifest(manySync(i), "many/"+manySync(i)))
			if err != nil {
				return err
			}
			_, err = resource.Patch(making, manySync(i), types.ApplyPatchType, m.body, metav1.PatchOptions{FieldManager: "bench"})
			return err
		})
	}
	return group.Wait()
}

// all waits until the automator sees every Sync as it should be.
func (b *syncBench) all(ctx context.Context, ok env.Condition) error {
	client, err := b.bench.world.Status()
	if err != nil {
		return err
	}
	stream, err := client.WatchSyncs(ctx, &statusv1.WatchSyncsRequest{Filter: &statusv1.SyncFilter{Cluster: site}})
	if err != nil {
		return err
	}
	done := map[string]bool{}
	for len(done) < b.opts.Syncs {
		change, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("%d of %d Syncs are as they should be: %w", len(done), b.opts.Syncs, err)
		}
		if sync := change.GetSync(); sync != nil && ok(sync) {
			done[sync.GetName()] = true
		}
	}
	return nil
}
