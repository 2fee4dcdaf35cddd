package imageref

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// anything allows every change of an image.
func anything(Reference, Reference) error { return nil }

func TestOnlyImagesChanged(t *testing.T) {
	t.Parallel()
	const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  template:
    spec:
      containers:
      - image: ghcr.io/acme/web:1 # keep
      - image: "ghcr.io/acme/side:1"
`
	edit := func(from, to string) string { return strings.Replace(deployment, from, to, 1) }
	tests := map[string]struct {
		reason string
		after  string
		want   []string
	}{
		"Nothing": {"equal files have no changes", deployment, nil},
		"One":     {"a new tag", edit("web:1", "web:2"), []string{"ghcr.io/acme/web:1 -> ghcr.io/acme/web:2"}},
		"Two": {
			"a digest, and a shorter value in quotes",
			strings.Replace(edit("web:1", "web:2@"+sha), "side:1", "side", 1),
			[]string{"ghcr.io/acme/web:1 -> ghcr.io/acme/web:2@" + sha, "ghcr.io/acme/side:1 -> ghcr.io/acme/side"},
		},
		"Quoted": {"quotes for what had none", edit("ghcr.io/acme/web:1", "'1234'"), []string{"ghcr.io/acme/web:1 -> 1234"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed, err := OnlyImagesChanged("a.yaml", []byte(deployment), []byte(tc.after), anything)
			if err != nil {
				t.Fatalf("%s: OnlyImagesChanged(...): %v", tc.reason, err)
			}
			var got []string
			for _, c := range changed {
				got = append(got, c.Old.String()+" -> "+c.New.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: OnlyImagesChanged(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestOnlyImagesChangedRefuses(t *testing.T) {
	t.Parallel()
	const file = `apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  hostNetwork: false
  containers:
  - name: a
    image: ghcr.io/acme/web:1
  - image: 'ghcr.io/acme/side:1' # keep
  - image: &c ghcr.io/acme/anchored:1
  - image: "ghcr.io/acme/\x61:1"
`
	tests := map[string]struct {
		reason   string
		old, new string
		line     int
	}{
		"OtherField":      {"a field that is no image", "false", "true", 5},
		"Comment":         {"comments are bytes too", "# keep", "# kept", 9},
		"Blank":           {"so are blanks", "image: ghcr", "image:  ghcr", 8},
		"LineEnd":         {"and line ends", "web:1\n", "web:1\r\n", 8},
		"Locked":          {"an anchored value may stand for others", "anchored:1", "anchored:2", 10},
		"NewKey":          {"a line after the image", "web:1\n", "web:1\n    command: [sh]\n", 9},
		"NewKeyOnTheLine": {"a value that ends early", "web:1\n", "web:1, command: [sh]\n", 8},
		"TrailingComment": {"a comment behind the new value", "web:1\n", "web:2 # x\n", 8},
		"NotAReference":   {"an image must stay one", "web:1\n", "web:1:2\n", 8},
		"Emptied":         {"no value at all", "ghcr.io/acme/web:1\n", "\n", 8},
		"ToAnchor":        {"an anchor is no character of a reference", "image: ghcr.io/acme/web:1", "image: &x ghcr.io/acme/web:1", 8},
		"ToAlias":         {"neither is an alias", "ghcr.io/acme/web:1", "*c", 8},
		"Requoted":        {"single quotes became double", "'ghcr.io/acme/side:1'", `"ghcr.io/acme/side:2"`, 9},
		"Unquoted":        {"quotes were taken away", "'ghcr.io/acme/side:1'", `ghcr.io/acme/side:2`, 9},
		"HalfQuoted":      {"a quote was left open", "side:1'", `side:2`, 9},
		"OnlyQuoted":      {"quotes were added to the same value", "ghcr.io/acme/web:1", "'ghcr.io/acme/web:1'", 8},
		"Unescaped":       {"the same value without its escape", `\x61`, "a", 11},
		"Escaped":         {"an escape in a new value", `\x61:1`, `\x61:2`, 11},
		"Number":          {"a plain number is no string", "ghcr.io/acme/web:1", "1234", 8},
		"Word":            {"a plain word that YAML 1.1 takes for false", "ghcr.io/acme/web:1", "off", 8},
		"Appended":        {"one byte more at the end", "\\x61:1\"\n", "\\x61:1\"\n\n", 12},
		"CutOff":          {"one byte less at the end", "\\x61:1\"\n", "\\x61:1\"", 11},
		"OtherRepository": {"without a rule the repository stays", "acme/web:1", "acme/api:1", 8},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			after := strings.Replace(file, tc.old, tc.new, 1)
			if after == file {
				t.Fatalf("the edit of %q does nothing", tc.old)
			}
			got, err := OnlyImagesChanged("a.yaml", []byte(file), []byte(after), nil)
			var where *Error
			if !errors.As(err, &where) {
				t.Fatalf("%s: OnlyImagesChanged(...) = %v, %v; want an *Error", tc.reason, got, err)
			}
			if where.Line != tc.line || where.Reason == "" {
				t.Errorf("%s: OnlyImagesChanged(...): %v, want it at line %d", tc.reason, err, tc.line)
			}
		})
	}
}

// TestRefusalsRepeatNoValue holds that what stands elsewhere in a file stays in it: it may be a Secret.
func TestRefusalsRepeatNoValue(t *testing.T) {
	t.Parallel()
	const file = "kind: Secret\nstringData:\n  password: hunter1\n"
	for name, after := range map[string]string{
		"Changed": strings.Replace(file, "hunter1", "hunter2", 1), "Added": file + "  more: hunter2\n", "Cut": strings.TrimSuffix(file, "\n"),
		"Alias": strings.Replace(file, "hunter1", "*hunter2", 1),
	} {
		_, err := OnlyImagesChanged("a.yaml", []byte(file), []byte(after), nil)
		if err == nil || strings.Contains(err.Error(), "unter") {
			t.Errorf("%s: got %v, want a refusal without values", name, err)
		}
	}
	if _, err := Find("a.yaml", []byte("password: *hunter2\n")); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Find(unknown alias): got %v, want an error without the value", err)
	}
}

func TestOnlyImagesChangedAsks(t *testing.T) {
	t.Parallel()
	errBoom := errors.New("boom")
	before, after := []byte(pod("a:1\n  - image: b:1\n")), []byte(pod("a:2\n  - image: x/c:2\n"))
	var asked []string
	_, err := OnlyImagesChanged("a.yaml", before, after, func(was, became Reference) error {
		asked = append(asked, was.Name()+" -> "+became.Name())
		if became.Name() != was.Name() {
			return errBoom
		}
		return nil
	})
	if !errors.Is(err, errBoom) {
		t.Errorf("OnlyImagesChanged(...): %v, want the answer of the rule", err)
	}
	want := []string{"index.docker.io/library/a -> index.docker.io/library/a", "index.docker.io/library/b -> index.docker.io/x/c"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("the rule was asked: -want, +got:\n%s", diff)
	}
}
