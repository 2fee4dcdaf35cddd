package debian

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pault.ag/go/debian/dependency"
	"pault.ag/go/debian/version"
)

// maxPackages bounds what one layer pins.
const maxPackages = 200

// candidate is a package that an index offers.
type candidate struct {
	Package
	version  version.Version
	depends  dependency.Dependency
	provides []string
}

// index is what a release offers for one architecture: the newest version of
// each name, and who provides a name.
type index struct {
	byName   map[string]candidate
	provided map[string][]string
}

func newIndex() index {
	return index{byName: map[string]candidate{}, provided: map[string][]string{}}
}

func (x index) add(c candidate) {
	if old, ok := x.byName[c.Name]; ok && version.Compare(old.version, c.version) >= 0 {
		return
	}
	x.byName[c.Name] = c
	for _, name := range c.provides {
		if !slices.Contains(x.provided[name], c.Name) {
			x.provided[name] = append(x.provided[name], c.Name)
		}
	}
}

// closure follows dependencies from what is asked for. It does not go into what
// is left out. Versions are not compared: a release is consistent by itself.
func (x index) closure(roots []string, leftOut map[string]bool) ([]Package, error) {
	chosen := map[string]candidate{}
	for queue := slices.Clone(roots); len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		if _, done := chosen[name]; done {
			continue
		}
		found, ok := x.byName[name]
		if !ok {
			return nil, fmt.Errorf("%s: no such package in the release", name)
		}
		chosen[name] = found
		if len(chosen) > maxPackages {
			return nil, fmt.Errorf("more than %d packages: leave something out", maxPackages)
		}
		for _, relation := range found.depends.Relations {
			next, err := x.choose(relation, chosen, leftOut)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if next != "" {
				queue = append(queue, next)
			}
		}
	}
	packages := make([]Package, 0, len(chosen))
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		packages = append(packages, chosen[name].Package)
	}
	return packages, nil
}

// choose picks the alternative that satisfies a relation: one that is chosen
// already, or else the first that is there. It is empty for what is left out.
func (x index) choose(relation dependency.Relation, chosen map[string]candidate, leftOut map[string]bool) (string, error) {
	first := ""
	for _, possible := range relation.Possibilities {
		for _, name := range x.providers(possible.Name) {
			if _, ok := chosen[name]; ok || leftOut[name] {
				return "", nil
			}
			first = cmp.Or(first, name)
		}
	}
	if first == "" {
		return "", fmt.Errorf("depends on %s, which the release does not have", strings.TrimSpace(relation.String()))
	}
	return first, nil
}

func (x index) providers(name string) []string {
	if _, ok := x.byName[name]; ok {
		return []string{name}
	}
	return x.provided[name]
}
