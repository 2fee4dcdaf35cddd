// Package charts tests the Helm charts as far as that takes no cluster: what they render, what they refuse, and that the
// agents read what they configure. integration/suites/charts installs them.
package charts

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/tandem-cd/tandem/integration/env/helm"
)

var update = flag.Bool("update", false, "rewrite the golden files and deploy/rbac")

const (
	// source is the source tree, as seen from here.
	source = "../.."
	// decodeBuffer is how much of a manifest is looked at to tell YAML from JSON.
	decodeBuffer = 4096
	fileMode     = 0o600

	automatorChart    = "automator"
	synchronizerChart = "synchronizer"
)

// pinned is Helm, for every test.
var pinned *helm.Helm

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	home, err := os.MkdirTemp("", "tandem-helm-")
	if err == nil {
		defer os.RemoveAll(home)
		pinned, err = helm.New(context.Background(), source, home, "")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func chartDir(chart string) string { return filepath.Join(source, "deploy", "charts", chart) }

// render is what `helm template` prints, as docs/install.md names the release and its namespace.
func render(t *testing.T, chart, values string, args ...string) (string, error) {
	t.Helper()
	return pinned.Run(t.Context(), append([]string{
		"template", "tandem-" + chart, chartDir(chart), "--namespace", "tandem-system", "--values", values,
	}, args...)...)
}

// valueFiles are the files of values that a chart is tested with.
func valueFiles(t *testing.T, chart string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", chart, "*.values.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no values for chart %s: %v", chart, err)
	}
	return files
}

// forEach runs a test for every chart with each of its files of values.
func forEach(t *testing.T, test func(t *testing.T, chart, values string)) {
	t.Helper()
	for _, chart := range []string{automatorChart, synchronizerChart} {
		for _, file := range valueFiles(t, chart) {
			name := chart + "/" + strings.TrimSuffix(filepath.Base(file), ".values.yaml")
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, chart, file)
			})
		}
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, chart, values string) {
		t.Helper()
		if _, err := pinned.Run(t.Context(), "lint", "--strict", chartDir(chart), "--values", values); err != nil {
			t.Error(err)
		}
	})
}

// TestTemplates compares what is rendered with the golden files. The definition of the kind Sync is left out of them:
// TestCRD compares it.
func TestTemplates(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, chart, values string) {
		t.Helper()
		rendered, err := render(t, chart, values)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, strings.Replace(values, ".values.yaml", ".golden.yaml", 1), withoutCRD(rendered))
	})
}

// compare compares with a golden file, or rewrites it.
func compare(t *testing.T, golden, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, []byte(got), fileMode); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want, +got; when that is wanted, run make update:\n%s", golden, diff)
	}
}

const separator = "---\n"

// withoutCRD takes the definitions out of a manifest.
func withoutCRD(manifest string) string {
	var kept []string
	for document := range strings.SplitSeq(manifest, separator) {
		if !strings.Contains(document, "\nkind: CustomResourceDefinition\n") {
			kept = append(kept, document)
		}
	}
	return strings.Join(kept, separator)
}

// decode reads the objects of a manifest.
func decode(t *testing.T, manifest string) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(manifest)), decodeBuffer)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatal(err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// find returns the only object of a kind.
func find(t *testing.T, manifest, kind string) *unstructured.Unstructured {
	t.Helper()
	var found *unstructured.Unstructured
	for _, object := range decode(t, manifest) {
		if object.GetKind() != kind {
			continue
		}
		if found != nil {
			t.Fatalf("two objects of kind %s", kind)
		}
		found = object
	}
	if found == nil {
		t.Fatalf("no object of kind %s", kind)
	}
	return found
}
