package pipeline

import (
	"path"
	"slices"
	"strings"

	"github.com/tandem-cd/tandem/shared/revision"
)

// Home is where the files of [Folder] are.
type Home struct {
	// Repository is the name that the automator's configuration gives the
	// repository. Grants that name none are for it.
	Repository string
	// Branch has the files, and the environments that name no branch; empty if
	// that is not known.
	Branch string
	// Branches are the others that environments may be on.
	Branches []string
}

// branch returns the branch of an environment.
func (m mapping) branch() string {
	home := m.home
	text, n := m.text("branch", "")
	switch {
	case n == nil || text == home.Branch:
		return home.Branch
	case strings.HasPrefix(text, "refs/"):
		m.atf(n, "branch is %s; write the name alone, such as %q", quote(text), revision.BranchOf(text))
	case (revision.Source{Repository: "any", Ref: revision.BranchRef(text)}).Validate() != nil:
		m.atf(n, "branch is %s, which no branch is called", quote(text))
	case home.Branch != "" && !slices.Contains(home.Branches, text):
		m.atf(n, "branch is %s, which the automator does not write; add it to the branches of the repository %s in its configuration",
			quote(text), home.Repository)
	}
	return text
}

// place says where an environment is: the branch only if it is another one than
// that of the files.
func (h Home) place(e *Environment) string {
	if e.Branch == h.Branch {
		return orDot(e.Path)
	}
	return orDot(e.Path) + " on " + e.Branch
}

// has tells whether a grant has a ref.
func (g Grant) has(ref string) bool {
	return slices.ContainsFunc(g.Refs, func(pattern string) bool {
		matched, err := path.Match(pattern, ref)
		return err == nil && matched
	})
}
