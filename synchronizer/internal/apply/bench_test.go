package apply_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// mix is 70 % ConfigMap of 1 KiB, 20 % Deployment, 10 % Service.
func (w *world) mix(b *testing.B, count int) []plan.Step {
	b.Helper()
	steps := make([]plan.Step, count)
	for i := range steps {
		text := `{apiVersion: v1, kind: ConfigMap, metadata: {name: a-%[1]d, namespace: %[2]s}, data: {a: "` + strings.Repeat("x", 1024) + `"}}`
		switch {
		case i%10 >= 9:
			text = `{apiVersion: v1, kind: Service, metadata: {name: a-%[1]d, namespace: %[2]s}, spec: {selector: {app: a-%[1]d}, clusterIP: None, ports: [{port: 80}]}}`
		case i%10 >= 7:
			text = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a-%[1]d, namespace: %[2]s}, spec: {replicas: 0, selector: {matchLabels: {app: a-%[1]d}},
				template: {metadata: {labels: {app: a-%[1]d}}, spec: {containers: [{name: a, image: "a:1", resources: {requests: {cpu: 10m}}, ports: [{containerPort: 80}]}]}}}}`
		}
		steps[i] = w.step(b, fmt.Sprintf(text, i, w.namespace))
	}
	return steps
}

// bare applies by a client and nothing else: the limit.
func bare(b *testing.B, w *world, client dynamic.Interface, steps []plan.Step) time.Duration {
	b.Helper()
	var workers sync.WaitGroup
	free := make(chan struct{}, apply.DefaultConcurrency)
	start := time.Now()
	for _, step := range steps {
		free <- struct{}{}
		workers.Go(func() {
			defer func() { <-free }()
			obj := step.Desired.Object
			resource, _, err := w.mapper.Resource(b.Context(), obj.GroupVersionKind())
			if err == nil {
				_, err = client.Resource(resource).Namespace(w.namespace).Apply(context.WithoutCancel(b.Context()), obj.GetName(), obj, metav1.ApplyOptions{FieldManager: "bare", Force: true})
			}
			if err != nil {
				b.Error(err)
			}
		})
	}
	workers.Wait()
	return time.Since(start)
}

func ours(b *testing.B, w *world, steps []plan.Step) time.Duration {
	b.Helper()
	start := time.Now()
	for _, r := range w.run(b, steps...) {
		if r.Err != nil {
			b.Error(r.Err)
		}
	}
	return time.Since(start)
}

// mark puts on the objects what we put on them, which the API server has to
// merge and to store.
func mark(w *world, steps []plan.Step) []plan.Step {
	for _, step := range steps {
		step.Desired.Object.SetLabels(map[string]string{v1alpha1.LabelSync: w.label})
		step.Desired.Object.SetAnnotations(map[string]string{v1alpha1.AnnotationOwner: step.Key.ID()})
	}
	return steps
}

// BenchmarkFirstApply compares the first apply of 1,000 objects with bare
// clients, in turn and in the same run, since the machine matters more than the
// code. One is an administrator, whom the API server asks nothing, and applies
// the plain objects; the other acts as a service account and applies the objects
// with our marks, as we must.
func BenchmarkFirstApply(b *testing.B) {
	const objects = 1000
	kubetest.Config(b)
	var plain, marked, we []float64
	turns := []func(w *world){
		func(w *world) { plain = append(plain, bare(b, w, w.client, w.mix(b, objects)).Seconds()) },
		func(w *world) {
			as := rest.CopyConfig(kubetest.Config(b))
			as.Impersonate.UserName = w.who.User()
			marked = append(marked, bare(b, w, kubetest.Client(b, as), mark(w, w.mix(b, objects))).Seconds())
		},
		func(w *world) {
			we = append(we, ours(b, w, w.mix(b, objects)).Seconds())
			if asked := w.asked(); asked != fmt.Sprint("PATCH:", objects) {
				b.Errorf("asked %s for %d objects", asked, objects)
			}
		},
	}
	for b.Loop() {
		for _, turn := range turns {
			turn(newWorld(b))
		}
		turns = append(turns[1:], turns[0]) // nobody always comes last
	}
	b.ReportMetric(median(plain), "bare-plain-s")
	b.ReportMetric(median(marked), "bare-marked-s")
	b.ReportMetric(median(we), "ours-s")
	b.ReportMetric(median(we)/median(marked), "ours/marked")
	b.ReportMetric(slices.Min(we)/slices.Min(marked), "best/best")
	b.ReportMetric(0, "ns/op")
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}
