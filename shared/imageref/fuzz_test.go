package imageref

import (
	"bytes"
	"testing"
)

// seeds are files whose bytes are easy to get wrong.
func seeds() []string {
	return []string{
		"",
		"a: b\n",
		pod("nginx:1\n"),
		pod("'nginx:1' # c\r\n"),
		pod(`"ngin\x78:1"`),
		pod("&a nginx\n  - image: *a\n  - <<: {image: b}\n"),
		pod("|\n      nginx\n  - image: >-\n      b\n"),
		"\ufeff" + pod("nginx:1\u2028"),
		"%YAML 1.2\n---\n" + pod("nginx\n...\n%TAG ! tag:x,2000:\n---\na: !b c\n"),
		`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"apps/v1","kind":"Deployment","spec":{"template":{"spec":{"containers":[{"image":"a:1"}]}}}}]}`,
		"{apiVersion: v1, kind: Pod, spec: {containers: [{image: a:, x: y}, {image: b}], volumes: [{image: {reference: c}}]}}",
		"{apiVersion: v1, kind: Pod, spec: {containers: [image: a, image: 'b''c', ? image : d]}}",
		"image: {repository: ghcr.io/a/b, tag: 1.0, digest: ''} # c\nextra: {imageTag: \"\", imageRepository: x, images: [a:1]}\nv: 1 # tandem: a/b:tag\n",
		"kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\nimages:\n- name: a\n  newTag: 1\n- {name: b, newTag: 'x@" + sha + "'}\n",
		"kind: X\napiVersion: x.y/v1\nspec:\n  values: |\n    image: {repository: a, tag: 1.0}\n  image: b:1\n",
		"kind: A\napiVersion: x.y/v1\nspec:\n  patch: |\n    - {op: add, path: /image, value: a:1}\n  images: ['a=b:1']\n  parameters: [{name: image, value: a:1}, {name: x.image.tag, value: \"1\"}, {name: x.image.name, value: b}]\n",
		"? {a: b}\n: - - - c\n--- # x\n\"a\\\nb\": c",
	}
}

// texts are seeds that are not YAML.
func texts() []string {
	return []string{
		"# tandem: base\nFROM --platform=x golang:1.22 AS b\nRUN x\n",
		"t = \"1\" # tandem: a/b:tag\r\nd = \"\" // tandem: a/b:digest\n",
		"A=b:1 # tandem: a\nN=a/b # tandem: x:name\nT=1 # tandem: x:tag\n# tandem: a\n",
		"x ghcr.io/a/b:1 # {\"$imagepolicy\": \"a:b\"}\n",
	}
}

func fileName(text bool) string {
	if text {
		return "Dockerfile"
	}
	return "a.yaml"
}

func FuzzFind(f *testing.F) {
	for _, seed := range seeds() {
		f.Add([]byte(seed), false)
	}
	for _, seed := range texts() {
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, file []byte, text bool) {
		positions, err := Find(fileName(text), file)
		if err != nil {
			return
		}
		end := 0
		for _, p := range positions {
			if p.Locked != "" {
				continue
			}
			empty := p.Start == p.End && (p.Part == Whole || p.Style != Raw)
			if p.Start < end || p.End < p.Start || empty || p.End > len(file) {
				t.Fatalf("position %d-%d of %d bytes, the one before ends at %d", p.Start, p.End, len(file), end)
			}
			end = p.End
			if p.Value == "" && p.Part != Whole {
				continue
			}
			if image, err := p.read(p.Value); err != nil || image != p.Image {
				t.Fatalf("unlocked position with the value %q: %v, want %v: %v", p.Value, image, p.Image, err)
			}
		}
	})
}

// FuzzReplace checks that a result has the wanted value, and no other byte that
// was not there.
func FuzzReplace(f *testing.F) {
	for _, seed := range seeds() {
		f.Add([]byte(seed), uint(0), "ghcr.io/acme/api:1.4.2@"+sha)
		f.Add([]byte(seed), uint(2), "0123")
	}
	for _, seed := range texts() {
		f.Add([]byte(seed), uint(1), "1.2@"+sha)
		f.Add([]byte(seed), uint(3), "b:1")
	}
	f.Fuzz(func(t *testing.T, file []byte, index uint, value string) {
		name := fileName(index%2 == 1)
		positions, err := Find(name, file)
		if err != nil || len(positions) == 0 {
			return
		}
		p := positions[index/2%uint(len(positions))]
		got, err := Replace(name, file, []Splice{{Position: p, Value: value}})
		if err != nil {
			return
		}
		token := render(p.Style, value)
		if value == p.Value {
			token = string(file[p.Start:p.End])
		}
		want := string(file[:p.Start]) + token + string(file[p.End:])
		if string(got) != want {
			t.Fatalf("Replace(%q, %q) = %q, want %q", file, value, got, want)
		}
		again, err := Find(name, got)
		if err != nil || len(again) != len(positions) {
			t.Fatalf("Replace(%q, %q) = %q, in which Find finds %v, %v", file, value, got, again, err)
		}
		if _, err := OnlyImagesChanged(name, file, got, anything); err != nil {
			t.Fatalf("Replace(%q, %q) = %q, which the verifier refuses: %v", file, value, got, err)
		}
	})
}

// FuzzOnlyImagesChanged edits a file anywhere. Whatever is accepted MUST be equal
// to the original once both have their image positions blanked.
func FuzzOnlyImagesChanged(f *testing.F) {
	for _, seed := range seeds() {
		f.Add([]byte(seed), uint(len(seed)-min(len(seed), 2)), uint(1), []byte("2"), false)
		f.Add([]byte(seed), uint(0), uint(len(seed)), []byte(pod("nginx:2\n")), false)
	}
	for _, seed := range texts() {
		f.Add([]byte(seed), uint(len(seed)/2), uint(1), []byte("2"), true)
	}
	f.Fuzz(func(t *testing.T, before []byte, offset, length uint, insert []byte, text bool) {
		start := int(offset % uint(len(before)+1))
		end := start + int(length%uint(len(before)-start+1))
		after := bytes.Join([][]byte{before[:start], insert, before[end:]}, nil)
		if _, err := OnlyImagesChanged(fileName(text), before, after, anything); err != nil || bytes.Equal(before, after) {
			return
		}
		if was, became := blanked(t, fileName(text), before), blanked(t, fileName(text), after); was != became {
			t.Fatalf("accepted %q for %q", after, before)
		}
	})
}

// blanked returns a file with a placeholder at every position that may change.
func blanked(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, name string, file []byte,
) string {
	t.Helper()
	positions, err := Find(name, file)
	if err != nil {
		t.Fatalf("Find(%q): %v", file, err)
	}
	var out bytes.Buffer
	end := 0
	for _, p := range positions {
		if p.Locked != "" {
			continue
		}
		out.Write(file[end:p.Start])
		out.WriteString("<image>")
		end = p.End
	}
	out.Write(file[end:])
	return out.String()
}
