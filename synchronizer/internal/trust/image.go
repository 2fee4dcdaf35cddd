package trust

import (
	"fmt"

	"github.com/tandem-cd/tandem/shared/imageref"
	"github.com/tandem-cd/tandem/shared/revision"
)

// ImageRule allows an automation to bring images of a repository.
type ImageRule struct {
	// Path is where the rule holds; empty is everywhere.
	Path string `json:"path" yaml:"path"`
	// Repository is one repository, such as "ghcr.io/acme/web" or "nginx", or
	// everything below a name, such as "ghcr.io/acme/*".
	Repository string `json:"repository" yaml:"repository"`
}

// imageRule is an ImageRule in canonical form.
type imageRule struct {
	path         string
	repositories imageref.Pattern
}

func parseImageRules(configs []ImageRule) ([]imageRule, error) {
	rules := make([]imageRule, 0, len(configs))
	for i, config := range configs {
		rule, err := parseImageRule(config)
		if err != nil {
			return nil, fmt.Errorf("images[%d]: %w", i, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func parseImageRule(config ImageRule) (imageRule, error) {
	paths, err := revision.CleanPaths([]string{config.Path})
	if err != nil {
		return imageRule{}, err
	}
	repositories, err := imageref.ParsePattern(config.Repository)
	return imageRule{path: paths[0], repositories: repositories}, err
}

func (r imageRule) allows(path, repository string) bool {
	return revision.Covers(r.path, path) && r.repositories.Matches(repository)
}

// mayBring is nil when an automation may replace an image in a file by another.
func (p *principal) mayBring(path string, was, became imageref.Reference) error {
	if len(p.images) == 0 {
		if was.Name() == became.Name() {
			return nil
		}
		return fmt.Errorf("the repository %s became %s, and %s may only bring other versions", was.Name(), became.Name(), p.name)
	}
	if became.Name() == "" {
		return fmt.Errorf(`nothing in the file says of which repository %s is; name it in a marker: "# tandem: ghcr.io/acme/api:tag"`, became)
	}
	for _, rule := range p.images {
		if rule.allows(path, became.Name()) {
			return nil
		}
	}
	return fmt.Errorf("the repository %s is not among those that %s may bring here", became.Name(), p.name)
}
