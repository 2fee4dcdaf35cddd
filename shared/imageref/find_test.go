package imageref

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// pod returns a Pod whose only container has the given text as its image.
func pod(image string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: c\n    image: " + image
}

// found is what a test says about a position.
type found struct {
	Document int
	Path     string
	Value    string
	Locked   string
}

func TestFind(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		file   string
		want   []found
	}{
		"Deployment": {
			reason: "all three lists of containers, and image volumes, in the order of the file",
			file: `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      volumes:
      - name: model
        image:
          reference: ghcr.io/acme/model:1
      - name: tmp
        emptyDir: {}
      initContainers:
      - image: migrate:2
      containers:
      - name: web
        image: web:3
      - name: side
        image: side:4
      ephemeralContainers:
      - image: debug:5
`,
			want: []found{
				{Path: "Deployment/web spec.template.spec.volumes[0].image.reference", Value: "ghcr.io/acme/model:1"},
				{Path: "Deployment/web spec.template.spec.initContainers[0].image", Value: "migrate:2"},
				{Path: "Deployment/web spec.template.spec.containers[0].image", Value: "web:3"},
				{Path: "Deployment/web spec.template.spec.containers[1].image", Value: "side:4"},
				{Path: "Deployment/web spec.template.spec.ephemeralContainers[0].image", Value: "debug:5"},
			},
		},
		"Kinds": {
			reason: "every built-in kind with a PodSpec, and no other built-in kind; containers of custom kinds count",
			file: `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{image: x}]}}
--- {apiVersion: v1, kind: PodTemplate, metadata: {name: a}, template: {spec: {containers: [{image: x}]}}}
--- {apiVersion: v1, kind: ReplicationController, metadata: {name: a}, spec: {template: {spec: {containers: [{image: x}]}}}}
--- {apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: a}, spec: {template: {spec: {containers: [{image: x}]}}}}
--- {apiVersion: apps/v1beta2, kind: StatefulSet, metadata: {name: a}, spec: {template: {spec: {containers: [{image: x}]}}}}
--- {apiVersion: extensions/v1beta1, kind: DaemonSet, metadata: {name: a}, spec: {template: {spec: {containers: [{image: x}]}}}}
--- {apiVersion: batch/v1, kind: Job, metadata: {generateName: a-}, spec: {template: {spec: {containers: [{image: x}]}}}}
--- {apiVersion: batch/v1, kind: CronJob, spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: x}]}}}}}}
--- {apiVersion: batch.volcano.sh/v1alpha1, kind: Job, metadata: {name: a}, spec: {template: {spec: {containers: [{image: x}]}}}}
--- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, spec: {containers: [{image: x}]}}
--- {kind: Deployment, metadata: {name: a}, spec: {template: {spec: {containers: [{image: x}]}}}}
`,
			want: []found{
				{Document: 0, Path: "Pod/a spec.containers[0].image", Value: "x"},
				{Document: 1, Path: "PodTemplate/a template.spec.containers[0].image", Value: "x"},
				{Document: 2, Path: "ReplicationController/a spec.template.spec.containers[0].image", Value: "x"},
				{Document: 3, Path: "ReplicaSet/a spec.template.spec.containers[0].image", Value: "x"},
				{Document: 4, Path: "StatefulSet/a spec.template.spec.containers[0].image", Value: "x"},
				{Document: 5, Path: "DaemonSet/a spec.template.spec.containers[0].image", Value: "x"},
				{Document: 6, Path: "Job/a-* spec.template.spec.containers[0].image", Value: "x"},
				{Document: 7, Path: "CronJob/* spec.jobTemplate.spec.template.spec.containers[0].image", Value: "x"},
				{Document: 8, Path: "Job/a spec.template.spec.containers[0].image", Value: "x"},
			},
		},
		"Lists": {
			reason: "lists of objects, lists of one kind, and lists in lists",
			file: `apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{image: one}]}}
- apiVersion: apps/v1
  kind: DeploymentList
  items:
  - {metadata: {name: b}, spec: {template: {spec: {containers: [{image: two}]}}}}
- {apiVersion: v1, kind: Service, metadata: {name: c}}
`,
			want: []found{
				{Path: "Pod/a spec.containers[0].image", Value: "one"},
				{Path: "Deployment/b spec.template.spec.containers[0].image", Value: "two"},
			},
		},
		"JSON": {
			reason: "JSON is YAML",
			file:   `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"image":"nginx:1"}]}}`,
			want:   []found{{Path: "Pod/p spec.containers[0].image", Value: "nginx:1"}},
		},
		"Anchor": {
			reason: "an anchored image may stand for others",
			file:   pod("&img nginx:1\n  - image: *img\n"),
			want: []found{
				{Path: "Pod/p spec.containers[0].image", Value: "nginx:1", Locked: "it is part of the anchor &img, which is used elsewhere in the file"},
				{Path: "Pod/p spec.containers[1].image", Value: "nginx:1", Locked: "it is the alias *img; write the value out to have it edited"},
			},
		},
		"UnusedAnchor": {
			reason: "its place starts with the anchor, so that its bytes are not the value's",
			file:   pod("&img nginx:1\n"),
			want: []found{
				{Path: "Pod/p spec.containers[0].image", Value: "nginx:1", Locked: "it has the anchor &img; remove the anchor to have it edited"},
			},
		},
		"AnchoredContainer": {
			reason: "an edit inside of an anchor would change every place that uses it",
			file:   "x: &c [{image: nginx:1}]\napiVersion: v1\nkind: Pod\nspec:\n  containers: *c\n",
			want: []found{
				{Path: "Pod/* spec.containers", Locked: "it is the alias *c; write the value out to have it edited"},
			},
		},
		"MergedContainer": {
			reason: "a merge key brings text of elsewhere; what the mapping has itself goes first",
			file:   "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - &c {image: a:1}\n  - <<: *c\n    name: b\n  - <<: *c\n    image: b:1\n",
			want: []found{
				{Path: "Pod/* spec.containers[0].image", Value: "a:1", Locked: "it is part of the anchor &c, which is used elsewhere in the file"},
				{Path: "Pod/* spec.containers[1].image", Locked: "it comes through the merge key <<; write it out to have it edited"},
				{Path: "Pod/* spec.containers[2].image", Value: "b:1"},
			},
		},
		"Unreadable": {
			reason: "scalars that are no references, or not on one line, are there but locked",
			file: pod(`!!str nginx
  - image: |
      nginx
  - image: >-
      nginx
  - image: "ngi\
      nx"
  - image: ng
      inx
  - image: {}
  - image: ""
  - image:
  - image: 12
  - image: "{{ .Values.image }}"
  - image: NGINX
  - name: none
`),
			want: []found{
				{Path: "Pod/p spec.containers[0].image", Value: "nginx", Locked: "it has the tag !!str; remove the tag to have it edited"},
				{Path: "Pod/p spec.containers[1].image", Value: "nginx\n", Locked: "it is a block scalar; write it on one line to have it edited"},
				{Path: "Pod/p spec.containers[2].image", Value: "nginx", Locked: "it is a block scalar; write it on one line to have it edited"},
				{Path: "Pod/p spec.containers[3].image", Value: "nginx", Locked: "it does not stand on one line"},
				{Path: "Pod/p spec.containers[4].image", Value: "ng inx", Locked: "it does not stand on one line"},
				{Path: "Pod/p spec.containers[5].image", Locked: "it is not a string"},
				{Path: "Pod/p spec.containers[6].image", Locked: "it is empty"},
				{Path: "Pod/p spec.containers[7].image", Locked: "it is empty"},
				{Path: "Pod/p spec.containers[8].image", Value: "12", Locked: "YAML reads it as !!int, not as a string; quote it"},
				{Path: "Pod/p spec.containers[9].image", Value: "{{ .Values.image }}", Locked: `it is not an image reference: "{{ .Values.image }}": "{{ .Values.image }}" is not a repository name`},
				{Path: "Pod/p spec.containers[10].image", Value: "NGINX", Locked: `it is not an image reference: "NGINX": "NGINX" is not a repository name`},
			},
		},
		"NotManifests": {
			reason: "other YAML has no images and is no error",
			file:   "# only a comment\n---\n- a\n- b\n---\nimage: nginx\n---\njust text\n",
		},
		"WrongShapes": {
			reason: "a manifest with the wrong types in it is the API server's to refuse",
			file:   "apiVersion: v1\nkind: Pod\nmetadata: []\nspec: {containers: {image: x}, initContainers: [x, [y]], volumes: 3}\n",
		},
		"Empty": {reason: "an empty file is a file without images"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			positions, err := Find("a.yaml", []byte(tc.file))
			if err != nil {
				t.Fatalf("%s: Find(...): %v", tc.reason, err)
			}
			var got []found
			for _, p := range positions {
				got = append(got, found{Document: p.Document, Path: p.Path, Value: p.Value, Locked: p.Locked})
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: Find(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFindBytes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		file   string
		want   Position
	}{
		"Plain": {
			reason: "the plain case",
			file:   pod("nginx:1\n"),
			want:   Position{Line: 7, Column: 12, Value: "nginx:1", Style: Plain},
		},
		"Quotes": {
			reason: "the quotes belong to the bytes, not to the value",
			file:   pod("'nginx:1' # tandem: web \n"),
			want:   Position{Line: 7, Column: 12, Value: "nginx:1", Style: SingleQuoted, Comment: "tandem: web"},
		},
		"Escapes": {
			reason: "the value of escapes is what they stand for",
			file:   pod(`"ngin\x78:1"` + "\t# x"),
			want:   Position{Line: 7, Column: 12, Value: "nginx:1", Style: DoubleQuoted, Comment: "x"},
		},
		"CRLF": {
			reason: "two bytes end one line",
			file:   strings.ReplaceAll(pod("nginx:1 # c\n"), "\n", "\r\n"),
			want:   Position{Line: 7, Column: 12, Value: "nginx:1", Comment: "c"},
		},
		"CR": {
			reason: "so does a lone carriage return",
			file:   strings.ReplaceAll(pod("nginx:1\n"), "\n", "\r"),
			want:   Position{Line: 7, Column: 12, Value: "nginx:1"},
		},
		"UnicodeBreaks": {
			reason: "libyaml ends lines at NEL, LS and PS, also in comments",
			file:   "# a\u0085# b\u2028# c\u2029" + pod("nginx:1"),
			want:   Position{Line: 10, Column: 12, Value: "nginx:1"},
		},
		"ByteOrderMark": {
			reason: "a mark at the start is not part of the first line",
			file:   "\ufeff{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{image: nginx:1}]}}",
			want:   Position{Line: 1, Column: 78, Value: "nginx:1"},
		},
		"Columns": {
			reason: "columns count characters",
			file:   `{apiVersion: v1, kind: Pod, metadata: {name: p, annotations: {a: "日本語🚀"}}, spec: {containers: [{image: nginx:1}]}}`,
			want:   Position{Line: 1, Column: 104, Value: "nginx:1"},
		},
		"Directive": {
			reason: "the parser knows YAML 1.1 only; 1.2 files are common",
			file:   "# c\n%YAML 1.2\n---\n" + pod("nginx:1\n...\n%YAML 1.2 # again\n---\na: |\n  %YAML 1.2\n"),
			want:   Position{Line: 10, Column: 12, Value: "nginx:1"},
		},
		"CommentInFlow": {
			reason: "a number sign in a later string is no comment",
			file:   "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {image: nginx:1, args: ['# a', \"it's # b\", x#y]} # tandem: web\n",
			want:   Position{Line: 6, Column: 13, Value: "nginx:1", Comment: "tandem: web"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Find("a.yaml", []byte(tc.file))
			if err != nil || len(got) != 1 {
				t.Fatalf("%s: Find(...) = %v, %v; want one position", tc.reason, got, err)
			}
			token := strings.Trim(tc.file[got[0].Start:got[0].End], `'"`)
			if want := tc.want.Value; token != want && token != `ngin\x78:1` {
				t.Errorf("%s: the bytes of the position are %q, want %q", tc.reason, token, want)
			}
			tc.want.Path, tc.want.Start, tc.want.End = "Pod/p spec.containers[0].image", got[0].Start, got[0].End
			tc.want.Group, tc.want.Image, tc.want.Marker = 1, imageOf(tc.want.Value), markerOf(tc.want.Comment)
			if diff := cmp.Diff(tc.want, got[0], cmpopts.EquateComparable(Reference{})); diff != "" {
				t.Errorf("%s: Find(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFindRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason string
		file   string
		want   Error
	}{
		"NotYAML": {
			reason: "the line of the parser's complaint",
			file:   "a: 1\nb: [\nc: }\n",
			want:   Error{Line: 3},
		},
		"HelmTemplate": {
			reason: "templates are not YAML before they are rendered",
			file:   "{{- if .Values.x }}\na: b\n{{- end }}\n",
			want:   Error{Line: 1},
		},
		"Twice": {
			reason: "parsers differ in which of two equal keys they believe",
			file:   "kind: Pod\nspec: {}\n\"kind\": Job\n",
			want:   Error{Line: 3, Column: 1},
		},
		"TwiceByAlias": {
			reason: "an alias can be a key too",
			file:   "&k kind: Pod\nspec: {}\n*k : Job\n",
			want:   Error{Line: 3, Column: 1},
		},
		"NotUTF8": {
			reason: "columns cannot be counted",
			file:   "a: b\nc: \xff\n",
			want:   Error{Line: 2, Column: 4},
		},
		"UTF16": {
			reason: "the parser would decode it, and its positions would be of other bytes",
			file:   "\xff\xfea\x00:\x00 \x00b\x00",
			want:   Error{Line: 1, Column: 1},
		},
		"TwoByteOrderMarks": {
			reason: "the parser skips the first letter of every line then",
			file:   "\ufeff\ufeffa: b\n",
			want:   Error{Line: 1, Column: 1},
		},
		"TooDeep": {
			reason: "deep nesting is how parsers are exhausted",
			file:   strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1),
			want:   Error{Line: 1, Column: MaxDepth + 1},
		},
		"TooManyDocuments": {
			reason: "more documents than anyone writes",
			file:   strings.Repeat("--- a\n", MaxDocuments+1),
			want:   Error{Line: MaxDocuments + 1, Column: 1},
		},
		"TooLarge": {
			reason: "more bytes than anyone writes",
			file:   "# " + strings.Repeat("x", MaxFileSize),
			want:   Error{},
		},
		"UnknownAnchor": {
			reason: "an alias of nothing",
			file:   "a: *b\n",
			want:   Error{Line: 1},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Find("a.yaml", []byte(tc.file))
			got, ok := err.(*Error) //nolint:errorlint // It is this type that callers are promised.
			if !ok {
				t.Fatalf("%s: Find(...): %v, want an *Error", tc.reason, err)
			}
			if got.Line != tc.want.Line || got.Column != tc.want.Column || got.Reason == "" {
				t.Errorf("%s: Find(...): %v, want it at line %d, column %d", tc.reason, got, tc.want.Line, tc.want.Column)
			}
		})
	}
}
