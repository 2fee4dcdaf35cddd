package charts

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func read(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{source}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestCommonTemplates holds the copies together of what both charts share; a third chart for it would have to be
// fetched before either is installed.
func TestCommonTemplates(t *testing.T) {
	const file = "templates/_common.tpl"
	if diff := cmp.Diff(read(t, "deploy/charts", synchronizerChart, file), read(t, "deploy/charts", automatorChart, file)); diff != "" {
		t.Errorf("copy deploy/charts/synchronizer/%s to the automator's chart, or the other way:\n%s", file, diff)
	}
}

// TestCRD compares the definition that the chart installs with deploy/crds: the same but for labels, and the mark that
// keeps it.
func TestCRD(t *testing.T) {
	rendered, err := render(t, synchronizerChart, "testdata/synchronizer/tls.values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, want := find(t, rendered, "CustomResourceDefinition"), find(t, read(t, "deploy/crds/syncs.tandem.dev.yaml"), "CustomResourceDefinition")
	if policy := got.GetAnnotations()["helm.sh/resource-policy"]; policy != "keep" {
		t.Errorf("helm.sh/resource-policy is %q, want keep: an uninstall would remove every Sync", policy)
	}
	got.SetLabels(nil)
	got.SetAnnotations(nil)
	if diff := cmp.Diff(want.Object, got.Object); diff != "" {
		t.Errorf("copy deploy/crds/syncs.tandem.dev.yaml to deploy/charts/synchronizer/files: -want, +got:\n%s", diff)
	}
}

// TestVersions holds the versions of the charts together.
func TestVersions(t *testing.T) {
	var charts [2]struct{ Version, AppVersion string }
	for i, chart := range []string{automatorChart, synchronizerChart} {
		if err := yaml.Unmarshal([]byte(read(t, "deploy/charts", chart, "Chart.yaml")), &charts[i]); err != nil {
			t.Fatal(err)
		}
		if charts[i].Version == "" || charts[i].Version != charts[i].AppVersion {
			t.Errorf("%s: version %q, appVersion %q: they are one number", chart, charts[i].Version, charts[i].AppVersion)
		}
	}
	if charts[0] != charts[1] {
		t.Errorf("the charts have versions %v, want one", charts)
	}
}

// TestSchemas compares the keys of values.yaml with those of its schema, so that neither has one that the other has not,
// and wants each top-level key to have a reason beside or above it.
func TestSchemas(t *testing.T) {
	for _, chart := range []string{automatorChart, synchronizerChart} {
		t.Run(chart, func(t *testing.T) {
			var values, schema map[string]any
			if err := yaml.Unmarshal([]byte(read(t, "deploy/charts", chart, "values.yaml")), &values); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(read(t, "deploy/charts", chart, "values.schema.json")), &schema); err != nil {
				t.Fatal(err)
			}
			definitions, _ := schema["definitions"].(map[string]any)
			got, want := keysOf(values, ""), slices.DeleteFunc(propertiesOf(definitions, schema, ""), func(key string) bool { return key == "global" })
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("keys of the schema (-) and of values.yaml (+):\n%s", diff)
			}
		})
	}
}

// keysOf are the paths of the keys of values, sorted.
func keysOf(values map[string]any, prefix string) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		keys = append(keys, prefix+key)
		if below, ok := values[key].(map[string]any); ok && !freeForm[prefix+key] {
			keys = append(keys, keysOf(below, prefix+key+".")...)
		}
	}
	slices.Sort(keys)
	return keys
}

// freeForm are values whose keys the chart does not choose.
var freeForm = map[string]bool{"resources": true}

// propertiesOf are the paths of the properties of a schema.
func propertiesOf(definitions, schema map[string]any, prefix string) []string {
	if ref, ok := schema["$ref"].(string); ok {
		schema, _ = definitions[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
	}
	if freeForm[strings.TrimSuffix(prefix, ".")] {
		return nil
	}
	properties, _ := schema["properties"].(map[string]any)
	var keys []string
	for key, value := range properties {
		below, _ := value.(map[string]any)
		keys = append(append(keys, prefix+key), propertiesOf(definitions, below, prefix+key+".")...)
	}
	return keys
}

// TestStrict wants every object of the schemas to say what else it takes: a key that is misspelt must not be ignored.
func TestStrict(t *testing.T) {
	for _, chart := range []string{automatorChart, synchronizerChart} {
		var schema map[string]any
		if err := json.Unmarshal([]byte(read(t, "deploy/charts", chart, "values.schema.json")), &schema); err != nil {
			t.Fatal(err)
		}
		if lax := laxObjects(schema, chart); len(lax) > 0 {
			t.Errorf("objects with properties but without additionalProperties: %v", lax)
		}
	}
}

func laxObjects(node any, at string) []string {
	var found []string
	switch node := node.(type) {
	case map[string]any:
		_, isObject := node["properties"].(map[string]any)
		if _, closed := node["additionalProperties"]; isObject && node["type"] == "object" && !closed {
			found = append(found, at)
		}
		for _, key := range slices.Sorted(maps.Keys(node)) {
			found = append(found, laxObjects(node[key], at+"/"+key)...)
		}
	case []any:
		for _, item := range node {
			found = append(found, laxObjects(item, at+"[]")...)
		}
	}
	return found
}
