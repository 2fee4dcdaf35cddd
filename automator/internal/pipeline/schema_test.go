package pipeline

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"
)

// schema is as much of JSON Schema as ours are made of; a keyword that is not here is refused.
type schema struct {
	Schema      string            `json:"$schema"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Ref         string            `json:"$ref"`
	Type        string            `json:"type"`
	Const       any               `json:"const"`
	Enum        []any             `json:"enum"`
	Pattern     string            `json:"pattern"`
	MinLength   int               `json:"minLength"`
	MaxLength   int               `json:"maxLength"`
	MinItems    int               `json:"minItems"`
	MaxItems    int               `json:"maxItems"`
	Items       *schema           `json:"items"`
	Additional  *bool             `json:"additionalProperties"`
	MinProps    int               `json:"minProperties"`
	Required    []string          `json:"required"`
	Properties  map[string]schema `json:"properties"`
	Definitions map[string]schema `json:"definitions"`
}

func readSchema(t *testing.T, text string) schema {
	t.Helper()
	var s schema
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// resolve follows a reference.
func (s schema) resolve(root schema) schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/definitions/"); ok {
		return root.Definitions[name]
	}
	return s
}

// check returns what a value has that a schema does not allow.
func (s schema) check(root schema, at string, value any) []string {
	s = s.resolve(root)
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, at+": "+fmt.Sprintf(format, args...)) }
	if s.Const != nil && fmt.Sprint(s.Const) != fmt.Sprint(value) {
		say("%v is not %v", value, s.Const)
	}
	if s.Enum != nil && !slices.Contains(s.Enum, value) {
		say("%v is none of %v", value, s.Enum)
	}
	switch v := value.(type) {
	case map[string]any:
		if s.Type != "object" || len(v) < s.MinProps {
			say("an object of %d", len(v))
		}
		for _, key := range s.Required {
			if _, has := v[key]; !has {
				say("no %s", key)
			}
		}
		for key, value := range v {
			property, known := s.Properties[key]
			if !known {
				say("unknown %s", key)
				continue
			}
			wrong = append(wrong, property.check(root, at+"."+key, value)...)
		}
	case []any:
		if s.Type != "array" || len(v) < s.MinItems || len(v) > s.MaxItems {
			say("a list of %d", len(v))
			break
		}
		for i, item := range v {
			wrong = append(wrong, s.Items.check(root, fmt.Sprintf("%s[%d]", at, i), item)...)
		}
	case string:
		if s.Const == nil && s.Enum == nil && (s.Type != "string" || len(v) < s.MinLength || s.MaxLength > 0 && len(v) > s.MaxLength) {
			say("a text of %d", len(v))
		}
		if !regexp.MustCompile(s.Pattern).MatchString(v) {
			say("%q does not match", v)
		}
	default:
		if s.Const == nil && s.Type != map[bool]string{true: "boolean", false: "?"}[value == true || value == false] {
			say("%v", value)
		}
	}
	return wrong
}

// What Load accepts the schemas accept, in all stories.
func TestSchemasAcceptWhatLoads(t *testing.T) {
	t.Parallel()
	pipelines, clusters := readSchema(t, PipelineSchema), readSchema(t, ClustersSchema)
	stories, _ := filepath.Glob("testdata/load/*.txtar")
	checked := 0
	for _, story := range stories {
		archive, err := txtar.ParseFile(story)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range archive.Files {
			s, good := pipelines, false
			if file.Name == ClustersFile {
				_, problems := ParseClusters(file.Name, file.Data, "fleet")
				s, good = clusters, len(problems) == 0
			} else if filepath.Ext(file.Name) == ".yaml" {
				_, problems := Parse(file.Name, file.Data)
				good = len(problems) == 0
			}
			if !good {
				continue
			}
			var value any
			if err := yaml.Unmarshal(file.Data, &value); err != nil {
				t.Fatal(err)
			}
			if wrong := s.check(s, file.Name, value); len(wrong) > 0 {
				t.Errorf("%s: %q", story, wrong)
			}
			checked++
		}
	}
	if checked < 10 {
		t.Errorf("%d files were checked", checked)
	}
}

const wholePipeline = `version: 1
app: checkout
images:
- name: api
  repository: ghcr.io/acme/api
  policy: {semver: "^1"}
  verify:
  - keys: [release]
    identities: [{issuer: a, subject: b}]
environments:
- {name: dev, path: env/dev}
`

const wholeClusters = `version: 1
clusters:
- name: dev
  grants: [{refs: [main], paths: [env]}]
`

// place is an object of a file: how to get there, and its schema.
type place struct {
	path       []any
	definition string // empty: the file
}

// The schemas know the keys that the reader knows, and want those that it wants: it says itself which these are.
func TestSchemasHaveTheReadersKeys(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]struct {
		text, schema string
		places       []place
		parse        func(data []byte) Problems
	}{
		"pipeline": {wholePipeline, PipelineSchema, []place{
			{nil, ""},
			{[]any{"images", 0}, "image"},
			{[]any{"images", 0, "policy"}, "policy"},
			{[]any{"images", 0, "verify", 0}, "rule"},
			{[]any{"images", 0, "verify", 0, "identities", 0}, "identity"},
			{[]any{"environments", 0}, "environment"},
		}, func(data []byte) Problems { _, problems := Parse("p.yaml", data); return problems }},
		"clusters": {wholeClusters, ClustersSchema, []place{
			{nil, ""}, {[]any{"clusters", 0}, "cluster"}, {[]any{"clusters", 0, "grants", 0}, "grant"},
		}, func(data []byte) Problems { _, problems := ParseClusters("c.yaml", data, "fleet"); return problems }},
	} {
		s := readSchema(t, file.schema)
		for _, at := range file.places {
			object := s
			if at.definition != "" {
				object = s.Definitions[at.definition]
			}
			var known, wanted, has []string
			for key := range object.Properties {
				has = append(has, key)
				if lacks(file.parse(without(t, file.text, at.path, key)), key) {
					wanted = append(wanted, key)
				}
			}
			for _, problem := range file.parse(with(t, file.text, at.path, "qqqqqqqqqqqq")) {
				if _, list, found := strings.Cut(problem.Message, "known keys are "); found {
					known = strings.Split(list, ", ")
				}
			}
			for _, keys := range [][]string{known, wanted, has, object.Required} {
				slices.Sort(keys)
			}
			if diff := cmp.Diff(known, has); diff != "" {
				t.Errorf("%s %s: keys of the reader -, of the schema +:\n%s", name, at.definition, diff)
			}
			if diff := cmp.Diff(wanted, object.Required); diff != "" {
				t.Errorf("%s %s: wanted by the reader -, by the schema +:\n%s", name, at.definition, diff)
			}
			if object.Additional == nil || *object.Additional {
				t.Errorf("%s %s: takes any key", name, at.definition)
			}
		}
	}
}

func lacks(problems Problems, key string) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return strings.Contains(p.Message, " has no "+key+"; add ") })
}

func with(t *testing.T, text string, path []any, key string) []byte {
	t.Helper()
	return altered(t, text, path, func(object map[string]any) { object[key] = "x" })
}

func without(t *testing.T, text string, path []any, key string) []byte {
	t.Helper()
	return altered(t, text, path, func(object map[string]any) { delete(object, key) })
}

// altered is a file with one of its objects changed.
func altered(t *testing.T, text string, path []any, change func(map[string]any)) []byte {
	t.Helper()
	var root any
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	at := root
	for _, step := range path {
		switch step := step.(type) {
		case string:
			at = at.(map[string]any)[step]
		case int:
			at = at.([]any)[step]
		}
	}
	change(at.(map[string]any))
	out, err := yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
