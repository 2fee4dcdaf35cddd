package render

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// memory is a Reader of trees that are made from file names.
type memory struct {
	trees map[gitobject.ID]gitobject.Tree
	blobs map[gitobject.ID][]byte
	reads int
}

func (m *memory) Tree(_ context.Context, id gitobject.ID) (gitobject.Tree, error) {
	return m.trees[id], nil
}

func (m *memory) Blob(_ context.Context, id gitobject.ID) ([]byte, error) {
	m.reads++
	return m.blobs[id], nil
}

func (m *memory) add(t testing.TB, files map[string]string) gitobject.ID {
	t.Helper()
	if m.trees == nil {
		m.trees, m.blobs = map[gitobject.ID]gitobject.Tree{}, map[gitobject.ID][]byte{}
	}
	folders := map[string]map[string]string{}
	var entries []gitobject.Entry
	for name, content := range files {
		if folder, rest, nested := strings.Cut(name, "/"); nested {
			if folders[folder] == nil {
				folders[folder] = map[string]string{}
			}
			folders[folder][rest] = content
			continue
		}
		id := name2id(t, gitobject.TypeBlob, []byte(content))
		m.blobs[id] = []byte(content)
		mode := gitobject.ModeFile
		if strings.HasPrefix(content, "-> ") {
			mode = gitobject.ModeSymlink
		}
		entries = append(entries, gitobject.Entry{Mode: mode, Name: name, ID: id})
	}
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		entries = append(entries, gitobject.Entry{Mode: gitobject.ModeDir, Name: name, ID: m.add(t, folders[name])})
	}
	tree, err := gitobject.NewTree(entries)
	if err != nil {
		t.Fatal(err)
	}
	id := name2id(t, gitobject.TypeTree, tree.Encode())
	m.trees[id] = tree
	return id
}

func name2id(t testing.TB, kind gitobject.Type, content []byte) gitobject.ID {
	t.Helper()
	id, err := gitobject.Hash(gitobject.SHA1, kind, content)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func configMap(name string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n", name)
}

// builtin knows ConfigMaps, which are namespaced, and Namespaces, which are not.
func builtin(kind schema.GroupVersionKind) (bool, error) {
	switch kind.Kind {
	case "ConfigMap":
		return true, nil
	case "Namespace", "CustomResourceDefinition":
		return false, nil
	}
	return false, fault.New(fault.NotFound, "the cluster serves no kind %s", kind.Kind)
}

// rendered prints a result for comparison.
func rendered(r Result) string {
	var out strings.Builder
	for _, d := range r.Objects {
		fmt.Fprintf(&out, "%s %s\n", d.Key, d.Origin)
	}
	for _, p := range r.Problems {
		fmt.Fprintln(&out, p)
	}
	fmt.Fprintf(&out, "broken: %s\n", strings.Join(slices.Sorted(maps.Keys(r.Broken)), " "))
	return out.String()
}

func TestTree(t *testing.T) {
	t.Parallel()
	crd := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: xs.x.io}\nspec: {group: x.io, scope: Namespaced, names: {kind: X}}\n"
	cases := map[string]struct {
		reason string
		files  map[string]string
		want   string
	}{
		"Plain": {
			reason: "Every manifest below the folder, and nothing beside it.",
			files: map[string]string{
				"app/a.yaml": configMap("a") + "---\n" + configMap("b"), "app/deep/c.yml": configMap("c"),
				"app/d.json": `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d"}}`, "other/e.yaml": configMap("e"),
				"app/README.md": "#", "app/.hidden/f.yaml": configMap("f"),
			},
			want: "ConfigMap/shop/a app/a.yaml:1\nConfigMap/shop/b app/a.yaml:6\nConfigMap/shop/d app/d.json:1\nConfigMap/shop/c app/deep/c.yml:1\nbroken: \n",
		},
		"Namespaces": {
			reason: "A written namespace stays; a cluster-scoped object has none.",
			files:  map[string]string{"app/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: other}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: b, namespace: lost}\n"},
			want:   "ConfigMap/other/a app/a.yaml:1\nNamespace/b app/a.yaml:5\nbroken: \n",
		},
		"BrokenFile": {
			reason: "One broken file spoils no other.",
			files:  map[string]string{"app/a.yaml": configMap("a"), "app/b.yaml": "kind: [\n"},
			want:   "ConfigMap/shop/a app/a.yaml:1\napp/b.yaml:1: is not valid YAML: did not find expected node content\nbroken: app/b.yaml\n",
		},
		"UnknownKind": {
			reason: "The cluster does not know it.",
			files:  map[string]string{"app/a.yaml": "apiVersion: x.io/v1\nkind: X\nmetadata: {name: x}\n---\n" + configMap("a")},
			want:   "ConfigMap/shop/a app/a.yaml:5\napp/a.yaml:1: X/x: the cluster serves no kind X\nbroken: app/a.yaml\n",
		},
		"DefinedHere": {
			reason: "The tree brings its definition along.",
			files:  map[string]string{"app/a.yaml": "apiVersion: x.io/v1\nkind: X\nmetadata: {name: x}\n", "app/crd.yaml": crd},
			want:   "X/shop/x app/a.yaml:1\nCustomResourceDefinition/xs.x.io app/crd.yaml:1\nbroken: \n",
		},
		"Twice": {
			reason: "Which one is meant, nobody can know.",
			files:  map[string]string{"app/a.yaml": configMap("a"), "app/b.yaml": configMap("a"), "app/c.yaml": configMap("c")},
			want: "ConfigMap/shop/c app/c.yaml:1\n" +
				"app/a.yaml:1: ConfigMap/shop/a: ConfigMap/shop/a is written twice, here and at app/b.yaml:1; remove one of them\n" +
				"app/b.yaml:1: ConfigMap/shop/a: ConfigMap/shop/a is written twice, here and at app/a.yaml:1; remove one of them\n" +
				"broken: app/a.yaml app/b.yaml\n",
		},
		"Link": {
			reason: "What a link points to was not received.",
			files:  map[string]string{"app/a.yaml": "-> ../secret.yaml"},
			want:   "app/a.yaml: is a symbolic link; commit the file itself, or add its folder to the Sync's path\nbroken: app/a.yaml\n",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			git := &memory{}
			got, err := Tree(t.Context(), git, git.add(t, tc.files), "app", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err = got.Resolve("shop", builtin); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, rendered(got)); diff != "" {
				t.Errorf("%s\nTree(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestProblemsRepeatNoValue holds that what a file holds stays in it: it may be a Secret.
func TestProblemsRepeatNoValue(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"Alias": "kind: Secret\nstringData: {password: *hunter2 }\n", "Infinite": "kind: Secret\nstringData: {pin: 48151623e999}\n",
		"Tagged": "kind: Secret\nstringData: {pin: !!int hunter2}\n", "Truth": "kind: Secret\nstringData: {pin: !!bool hunter2}\n",
		"Binary": "kind: Secret\nstringData: {pin: !!binary hunter2}\n", "Null": "kind: Secret\nstringData: {pin: !!null hunter2}\n",
		"Quote": "kind: Secret\nstringData: {pin: \"hunter2\n", "Escape": "kind: Secret\nstringData: {pin: \"\\q hunter2\"}\n",
		"Text": "hunter2\n", "Tab": "kind: Secret\n\thunter2: x\n", "Float": "kind: Secret\nstringData: {pin: !!float hunter2}\n",
		"JSON": `{"kind": "Secret", "stringData": {"pin": 48151623e999}}`, "JSONSyntax": `{"kind": "Secret", "stringData": {"pin": hunter2}}`,
	} {
		file := "a.yaml"
		if strings.HasPrefix(content, "{") {
			file = "a.json"
		}
		_, problems := File(file, []byte(content))
		if len(problems) == 0 {
			t.Errorf("%s: no problem", name)
		}
		for _, p := range problems {
			if text := p.String(); strings.Contains(text, "hunter2") || strings.Contains(text, "48151623") {
				t.Errorf("%s: the value is in %q", name, text)
			}
		}
	}
}

func TestAFolderThatIsGoneIsAnError(t *testing.T) {
	t.Parallel()
	git := &memory{}
	if _, err := Tree(t.Context(), git, git.add(t, map[string]string{"a": "x"}), "app", nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("Tree(absent): got %v, want NotFound", err)
	}
}

func TestUnchangedFilesAreNotReadAgain(t *testing.T) {
	t.Parallel()
	git := &memory{}
	files := map[string]string{"app/a.yaml": configMap("a"), "app/b.yaml": configMap("b")}
	before, err := Tree(t.Context(), git, git.add(t, files), "app", nil)
	if err != nil {
		t.Fatal(err)
	}
	before.Forget()
	files["app/b.yaml"] = configMap("b2")
	git.reads = 0
	after, err := Tree(t.Context(), git, git.add(t, files), "app", &before)
	if err != nil || git.reads != 1 {
		t.Errorf("Tree(one changed file): read %d blobs, %v; want 1", git.reads, err)
	}
	wanted := pointers(after.Objects)
	if err := Load(t.Context(), git, wanted); err != nil {
		t.Fatal(err)
	}
	for _, d := range wanted {
		if d.Object.GetName() != d.Key.Name {
			t.Errorf("Load(%s): got %v", d.Key, d.Object)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add("a.yaml", []byte(configMap("a")))
	f.Add("a.json", []byte(`{"apiVersion":"v1","kind":"List","items":[]}`))
	f.Add("a.yaml", []byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		objects, problems := File(name, content)
		for _, d := range objects {
			if d.Object == nil || d.Key.Name == "" || d.Key.Kind == "" {
				t.Errorf("File(...): got an object without a name: %+v", d)
			}
		}
		for _, p := range problems {
			if p.File != name || p.Message == "" {
				t.Errorf("File(...): got a problem that says nothing: %+v", p)
			}
		}
	})
}
