package gitserver

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// Grow puts many commits on the main branch, each with one changed file, in one process and past the gates. It returns
// the last.
func (s *Server) Grow(ctx context.Context, repo string, commits int, file func(i int) (path, content string)) (string, error) {
	old, err := s.Tip(ctx, repo, mainRef)
	if err != nil {
		return "", err
	}
	var in bytes.Buffer
	for i := range commits {
		path, content := file(i)
		fmt.Fprintf(&in, "commit %s\ncommitter %s now\ndata 6\nchange\n", mainRef, author)
		if i == 0 {
			fmt.Fprintf(&in, "from %s\n", strings.TrimSpace(old))
		}
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", path, len(content), content)
	}
	if _, err := s.git.run(ctx, repo, in.Bytes(), "fast-import", "--quiet", "--date-format=now"); err != nil {
		return "", err
	}
	return s.Tip(ctx, repo, mainRef)
}
