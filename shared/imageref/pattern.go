package imageref

import (
	"errors"
	"fmt"
	"strings"
)

// Pattern is a set of repositories: one, or everything below a name. The zero Pattern has none.
type Pattern struct {
	name  string
	below bool // name ends in a slash
}

// ParsePattern reads one repository, such as "ghcr.io/acme/web" or "nginx", or everything below a name, such as "ghcr.io/acme/*".
func ParsePattern(text string) (Pattern, error) {
	parent, below := strings.CutSuffix(text, "/*")
	if !below {
		ref, err := Parse(text)
		if err == nil && (ref.Tag != "" || ref.Digest != "") {
			err = fmt.Errorf("%q names a version; name its repository", text)
		}
		return Pattern{name: ref.Name()}, err
	}
	// Two components keep "docker.io/*" from becoming Docker Hub's library.
	const inside = "x/x"
	ref, err := Parse(parent + "/" + inside)
	if err != nil || ref.Tag != "" || ref.Digest != "" {
		return Pattern{}, errors.Join(fmt.Errorf("%q is not a repository or a name before \"/*\"", text), err)
	}
	return Pattern{name: strings.TrimSuffix(ref.Name(), inside), below: true}, nil
}

// Matches reports whether a repository is in the set, by its canonical name.
func (p Pattern) Matches(repository string) bool {
	if p.below {
		return strings.HasPrefix(repository, p.name)
	}
	return repository == p.name && repository != ""
}
