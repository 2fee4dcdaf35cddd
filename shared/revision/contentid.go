package revision

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// contentIDVersion separates this hash from every other use of SHA-256; a new recipe gets a new one.
const contentIDVersion = "tandem content id v1\n"

// ContentIDOf returns the content id of paths (from CleanPaths) in the tree root: SHA-256 over the version line and, for
// each path in order, the path, a NUL, and the mode and object id there or "absent".
func ContentIDOf(ctx context.Context, trees gitobject.TreeReader, root gitobject.ID, paths []string) (ContentID, error) {
	hash := sha256.New()
	hash.Write([]byte(contentIDVersion))
	for _, p := range paths {
		entry, ok, err := gitobject.Lookup(ctx, trees, root, p)
		if err != nil {
			return ContentID{}, fmt.Errorf("look up %s: %w", describe(p), err)
		}
		what := "absent"
		if ok {
			what = fmt.Sprintf("%o %s", entry.Mode, entry.ID)
		}
		fmt.Fprintf(hash, "%s\x00%s\n", p, what)
	}
	var id ContentID
	hash.Sum(id[:0])
	return id, nil
}
