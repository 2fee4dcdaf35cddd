package imageref

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// references draws image references, awkward ones included.
func references() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`([a-z][a-z0-9]{0,5}(\.[a-z]{2,3})?(:[0-9]{2,4})?/)?[a-z0-9]{1,6}(/[a-z0-9]{1,3}(__|-|\.)[a-z]{1,3})?(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,6})?`),
		rapid.StringMatching(`[a-z]{1,8}(:v?[0-9]\.[0-9]{1,2}\.[0-9])?@sha256:[0-9a-f]{64}`),
		rapid.SampledFrom([]string{"on", "null", "12", "0x1f", "1e3", "190:20:30", "2020-01-02", "no", "1.2.3"}),
	).Filter(func(s string) bool { _, err := Parse(s); return err == nil })
}

// manifests draws files of some documents, in block and flow style, with every
// line end, and with all that may stand around an image.
func manifests() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var file strings.Builder
		file.WriteString(rapid.SampledFrom([]string{"", "\ufeff", "# c\n", "%YAML 1.2\n---\n"}).Draw(t, "head"))
		for i := range rapid.IntRange(1, 3).Draw(t, "documents") {
			if i > 0 {
				file.WriteString("---\n")
			}
			file.WriteString(document(t))
		}
		newline := rapid.SampledFrom([]string{"\n", "\r\n", "\r", "\u2028", "\u0085"}).Draw(t, "newline")
		return strings.ReplaceAll(file.String(), "\n", newline)
	})
}

func document(t *rapid.T) string {
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return "a: [&x 日本, *x]\nb: |\n  image: nginx\n"
	case 1:
		return fmt.Sprintf("{apiVersion: v1, kind: Pod, spec: {containers: [{image: %s}, {name: \"é\", image: %s, args: ['#']}]}}\n", scalar(t), scalar(t))
	case 2:
		return fmt.Sprintf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"image\":%q}]}}\n", references().Draw(t, "image"))
	default:
		return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
    name: "web"   # name
spec:
  template:
    spec:
      containers:
      - image: %s%s
        args: [--x,   "image: b"]

      -   name:    é
          image:    %s
`, scalar(t), rapid.SampledFrom([]string{"", " # tandem: web", "\t#'"}).Draw(t, "comment"), scalar(t))
	}
}

func scalar(t *rapid.T) string {
	style := rapid.SampledFrom([]Style{Plain, SingleQuoted, DoubleQuoted}).Draw(t, "style")
	return render(style, references().Draw(t, "image"))
}

// What the editor writes, the verifier accepts, whichever images are written.
func TestReplaceIsAccepted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		file := []byte(manifests().Draw(t, "file"))
		positions, err := Find("a.yaml", file)
		if err != nil {
			t.Fatalf("Find(%q): %v", file, err)
		}
		var splices []Splice
		changes := 0
		for _, p := range positions {
			if p.Locked != "" {
				t.Fatalf("%q: %s is locked: %s", file, p.Path, p.Locked)
			}
			if !rapid.Bool().Draw(t, "edit") {
				continue
			}
			splices = append(splices, Splice{Position: p, Value: references().Draw(t, "value")})
			if splices[len(splices)-1].Value != p.Value {
				changes++
			}
		}
		edited, err := Replace("a.yaml", file, splices)
		if err != nil {
			t.Fatalf("Replace(%q, %v): %v", file, splices, err)
		}
		changed, err := OnlyImagesChanged("a.yaml", file, edited, anything)
		if err != nil || len(changed) != changes {
			t.Fatalf("OnlyImagesChanged(%q, %q) = %d changes, %v; want %d", file, edited, len(changed), err, changes)
		}
	})
}

// An edit that touches a byte outside of an image is refused, whatever it is.
func TestOtherEditsAreRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before := []byte(manifests().Draw(t, "file"))
		positions, err := Find("a.yaml", before)
		if err != nil {
			t.Fatalf("Find(%q): %v", before, err)
		}
		start := rapid.IntRange(0, len(before)).Draw(t, "start")
		end := rapid.IntRange(start, min(start+3, len(before))).Draw(t, "end")
		insert := rapid.OneOf(
			rapid.StringMatching(`[a-z0-9 :#'",@/.\n\r-]{0,4}`),
			rapid.SampledFrom([]string{"\n", " ", "\u2028", "\n    command: [sh]", "&a ", "*x", "\\x61"}),
		).Draw(t, "insert")
		after := bytes.Join([][]byte{before[:start], []byte(insert), before[end:]}, nil)
		changed, err := OnlyImagesChanged("a.yaml", before, after, anything)
		if bytes.Equal(before, after) || err != nil {
			return
		}
		for _, p := range positions {
			if p.Start <= start && end <= p.End && len(changed) == 1 {
				return
			}
		}
		// The same result may come from an edit inside of an image, such as one that
		// deletes the first of two equal bytes.
		if blanked(t, "a.yaml", before) != blanked(t, "a.yaml", after) {
			t.Fatalf("OnlyImagesChanged(%q, %q) = %v, want an error", before, after, changed)
		}
	})
}
