package charts

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tandem-cd/tandem/automator"
	"github.com/tandem-cd/tandem/synchronizer"
)

// loaders read a configuration file as the agents do.
var loaders = map[string]func(path string) error{
	automatorChart:    func(path string) error { _, err := automator.Load(path); return err },
	synchronizerChart: func(path string) error { _, err := synchronizer.Load(path); return err },
}

// TestConfig has the agents read what the charts configure: they refuse a key that they do not know.
func TestConfig(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, chart, values string) {
		t.Helper()
		rendered, err := render(t, chart, values)
		if err != nil {
			t.Fatal(err)
		}
		content, _, _ := unstructured.NestedString(find(t, rendered, "ConfigMap").Object, "data", chart+".yaml")
		path := filepath.Join(t.TempDir(), chart+".yaml")
		if err := os.WriteFile(path, []byte(content), fileMode); err != nil {
			t.Fatal(err)
		}
		if err := loaders[chart](path); err != nil {
			t.Errorf("%v\n%s", err, content)
		}
	})
}
