package gitobject

import (
	"strings"
	"testing"
)

func TestIsLFSPointer(t *testing.T) {
	t.Parallel()
	const pointer = "version https://git-lfs.github.com/spec/v1\n" +
		"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
	cases := map[string]struct {
		reason string
		blob   string
		want   bool
	}{
		"Pointer":   {"as git-lfs writes it", pointer, true},
		"Extension": {"with an extension", strings.Replace(pointer, "\noid", "\next-0-x sha256:00\noid", 1), true},
		"Manifest":  {"a manifest is none", "version: v1\nsize: 3\n", false},
		"Mention":   {"a text about it is none", "see version https://git-lfs.github.com/spec/v1\n", false},
		"Large":     {"a pointer is small", pointer + strings.Repeat(" ", maxPointerSize), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := IsLFSPointer([]byte(tc.blob)); got != tc.want {
				t.Errorf("%s: IsLFSPointer(%q) = %t, want %t", tc.reason, tc.blob, got, tc.want)
			}
		})
	}
}
