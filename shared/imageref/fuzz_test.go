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
		"? {a: b}\n: - - - c\n--- # x\n\"a\\\nb\": c",
	}
}

func FuzzFind(f *testing.F) {
	for _, seed := range seeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		positions, err := Find("a.yaml", file)
		if err != nil {
			return
		}
		end := 0
		for _, p := range positions {
			if p.Locked != "" {
				continue
			}
			if p.Start < end || p.End <= p.Start || p.End > len(file) {
				t.Fatalf("position %d-%d of %d bytes, the one before ends at %d", p.Start, p.End, len(file), end)
			}
			end = p.End
			ref, err := Parse(p.Value)
			if err != nil || ref.String() != p.Value {
				t.Fatalf("unlocked position with the value %q: %v", p.Value, err)
			}
		}
	})
}

// FuzzReplace checks that a result has the wanted value, and no other byte that
// was not there.
func FuzzReplace(f *testing.F) {
	for _, seed := range seeds() {
		f.Add([]byte(seed), uint(0), "ghcr.io/acme/api:1.4.2@"+sha)
		f.Add([]byte(seed), uint(1), "0123")
	}
	f.Fuzz(func(t *testing.T, file []byte, index uint, value string) {
		positions, err := Find("a.yaml", file)
		if err != nil || len(positions) == 0 {
			return
		}
		p := positions[index%uint(len(positions))]
		got, err := Replace("a.yaml", file, []Splice{{Position: p, Value: value}})
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
		again, err := Find("a.yaml", got)
		if err != nil || len(again) != len(positions) {
			t.Fatalf("Replace(%q, %q) = %q, in which Find finds %v, %v", file, value, got, again, err)
		}
		if _, err := OnlyImagesChanged("a.yaml", file, got, anything); err != nil {
			t.Fatalf("Replace(%q, %q) = %q, which the verifier refuses: %v", file, value, got, err)
		}
	})
}

// FuzzOnlyImagesChanged edits a file anywhere. Whatever is accepted MUST be equal
// to the original once both have their image positions blanked.
func FuzzOnlyImagesChanged(f *testing.F) {
	for _, seed := range seeds() {
		f.Add([]byte(seed), uint(len(seed)-min(len(seed), 2)), uint(1), []byte("2"))
		f.Add([]byte(seed), uint(0), uint(len(seed)), []byte(pod("nginx:2\n")))
	}
	f.Fuzz(func(t *testing.T, before []byte, offset, length uint, insert []byte) {
		start := int(offset % uint(len(before)+1))
		end := start + int(length%uint(len(before)-start+1))
		after := bytes.Join([][]byte{before[:start], insert, before[end:]}, nil)
		if _, err := OnlyImagesChanged("a.yaml", before, after, anything); err != nil || bytes.Equal(before, after) {
			return
		}
		if was, became := blanked(t, before), blanked(t, after); was != became {
			t.Fatalf("accepted %q for %q", after, before)
		}
	})
}

// blanked returns a file with a placeholder at every position that may change.
func blanked(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, file []byte,
) string {
	t.Helper()
	positions, err := Find("a.yaml", file)
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
