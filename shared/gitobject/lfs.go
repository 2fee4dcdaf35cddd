package gitobject

import "bytes"

// maxPointerSize is what the Git LFS specification allows.
const maxPointerSize = 1024

// IsLFSPointer tells whether a blob only points to content kept by Git LFS.
// That content never travels with Git's objects, so nothing can be rendered
// from it.
func IsLFSPointer(blob []byte) bool {
	if len(blob) >= maxPointerSize {
		return false
	}
	return bytes.HasPrefix(blob, []byte("version https://git-lfs.github.com/spec/")) &&
		bytes.Contains(blob, []byte("\noid ")) && bytes.Contains(blob, []byte("\nsize "))
}
