package v1alpha1_test

import (
	"encoding/json"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

// served is the OpenAPI document of the definition that is built in, as an API server serves it, changed by a test.
func served(t *testing.T, change func(spec map[string]any)) []byte {
	t.Helper()
	var definition struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(v1alpha1.CRD, &definition); err != nil {
		t.Fatal(err)
	}
	schema := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
	properties, _ := schema["properties"].(map[string]any)
	spec, _ := properties["spec"].(map[string]any)
	fields, _ := spec["properties"].(map[string]any)
	change(fields)
	raw, err := json.Marshal(map[string]any{"components": map[string]any{"schemas": map[string]any{"dev.tandem.v1alpha1.Sync": schema, "dev.tandem.v1alpha1.SyncList": map[string]any{}}}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestCompareSchema(t *testing.T) {
	t.Parallel()
	missing, more, err := v1alpha1.CompareSchema(served(t, func(map[string]any) {}))
	if err != nil || len(missing)+len(more) > 0 {
		t.Errorf("the same: missing %v, more %v, %v", missing, more, err)
	}
	missing, more, err = v1alpha1.CompareSchema(served(t, func(spec map[string]any) {
		delete(spec, "suspend")
		spec["later"] = map[string]any{"type": "string"}
	}))
	if err != nil || !slices.Equal(missing, []string{"spec.suspend"}) || !slices.Equal(more, []string{"spec.later"}) {
		t.Errorf("another: missing %v, more %v, %v", missing, more, err)
	}
	for _, document := range []string{"", "{}", "[]"} {
		if _, _, err := v1alpha1.CompareSchema([]byte(document)); err == nil {
			t.Errorf("CompareSchema(%q): no error", document)
		}
	}
}
