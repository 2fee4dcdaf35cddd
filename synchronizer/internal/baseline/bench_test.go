package baseline_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
)

func BenchmarkOf(b *testing.B) {
	manyEnv := fields(b, web)
	eachContainer(b, func(container map[string]any) {
		env := make([]any, 1000)
		for i := range env {
			env[i] = map[string]any{"name": fmt.Sprint("NAME_", i), "value": "x"}
		}
		container["env"] = env
	})(manyEnv)
	cases := map[string]struct {
		kind   schema.GroupVersionKind
		fields map[string]any
	}{
		"Deployment": {deployment, fields(b, web)},
		"ConfigMap1KiB": {schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, map[string]any{
			"metadata": map[string]any{"name": "a", "labels": map[string]any{"app": "web"}},
			"data":     map[string]any{"a.yaml": strings.Repeat("x", 512), "b.yaml": strings.Repeat("y", 512)},
		}},
		"2x1000Env": {deployment, manyEnv},
	}
	for name, tc := range cases {
		b.Run(name, func(b *testing.B) {
			c := newCluster(tc.kind)
			c.apply(b, manager, tc.fields)
			live := c.live(b)
			b.ReportAllocs()
			for b.Loop() {
				baseline.Of(live, manager)
			}
		})
	}
}
