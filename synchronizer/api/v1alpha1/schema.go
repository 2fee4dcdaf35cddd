package v1alpha1

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// openAPI is what is read of an OpenAPI schema.
type openAPI struct {
	Properties map[string]openAPI `json:"properties"`
	Items      *openAPI           `json:"items"`
}

// paths lists the fields below spec and status.
func (s openAPI) paths() []string {
	var all []string
	for _, part := range []string{"spec", "status"} {
		s.Properties[part].walk(part, &all)
	}
	slices.Sort(all)
	return all
}

func (s openAPI) walk(at string, into *[]string) {
	for name, field := range s.Properties {
		*into = append(*into, at+"."+name)
		field.walk(at+"."+name, into)
	}
	if s.Items != nil {
		s.Items.walk(at+"[]", into)
	}
}

// CompareSchema compares the fields of a Sync in what an API server serves under /openapi/v3 for the group with those that
// this program was built for: which are missing there, and which it has besides.
func CompareSchema(served []byte) (missing, more []string, err error) {
	var document struct {
		Components struct {
			Schemas map[string]openAPI `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(served, &document); err != nil {
		return nil, nil, fmt.Errorf("OpenAPI of %s: %w", GroupVersion, err)
	}
	var theirs []string
	for name, found := range document.Components.Schemas {
		if strings.HasSuffix(name, "."+Kind) {
			theirs = found.paths()
		}
	}
	if theirs == nil {
		return nil, nil, fmt.Errorf("OpenAPI of %s has no %s", GroupVersion, Kind)
	}
	ours, err := built()
	if err != nil {
		return nil, nil, err
	}
	return without(ours, theirs), without(theirs, ours), nil
}

// built lists the fields of the definition that this program was built with.
func built() ([]string, error) {
	var definition struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema openAPI `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(CRD, &definition); err != nil {
		return nil, err
	}
	if len(definition.Spec.Versions) == 0 {
		return nil, errors.New("the definition that is built in has no version")
	}
	return definition.Spec.Versions[0].Schema.OpenAPIV3Schema.paths(), nil
}

// without returns what is in a and not in b; both are sorted.
func without(a, b []string) []string {
	var only []string
	for _, path := range a {
		if _, there := slices.BinarySearch(b, path); !there {
			only = append(only, path)
		}
	}
	return only
}
