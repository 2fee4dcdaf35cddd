package signed

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-cd/tandem/shared/imageref"
	"github.com/tandem-cd/tandem/shared/signature"
)

// custom looks through the fields of a custom resource for what whoever edits images would leave alone, and whoever runs them may
// not: an image without a version, a repository with nothing beside it, and what only a runtime reads as a reference.
type custom struct {
	policy *Policy
	images []signature.Image
}

func (c *custom) fields(path string, fields map[string]any, container bool) error {
	if repository, ok := fields["repository"].(string); ok && fields["digest"] == nil {
		if registry, ok := fields["registry"].(string); ok && registry != "" {
			repository = registry + "/" + repository
		}
		if err := c.text(path+".repository", repository, false); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := c.value(path+"."+name, name, fields[name], container); err != nil {
			return err
		}
	}
	return nil
}

// value looks at the value of a field; container says that it is a field of a container, or of a volume's image.
func (c *custom) value(path, name string, value any, container bool) error {
	switch value := value.(type) {
	case map[string]any:
		return c.fields(path, value, name == "image")
	case []any:
		for i, item := range value {
			at := fmt.Sprintf("%s[%d]", path, i)
			fields, ok := item.(map[string]any)
			if !ok {
				if err := c.value(at, name, item, container); err != nil {
					return err
				}
				continue
			}
			if err := c.fields(at, fields, runs(name)); err != nil {
				return err
			}
		}
	case string:
		if strings.Contains(value, "\n") {
			return c.documents(path, value)
		}
		if container && (name == "image" || name == "reference") {
			return c.text(path, value, true)
		}
		if lower := strings.ToLower(name); strings.HasSuffix(lower, "image") || strings.HasSuffix(lower, "images") {
			return c.text(path, value, false)
		}
	}
	return nil
}

// documents looks into a text of several lines, such as a patch or Helm values, if it is YAML.
func (c *custom) documents(path, text string) error {
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var document map[string]any
	for decoder.Decode(&document) == nil {
		if err := c.fields(path+": ", document, false); err != nil {
			return err
		}
		document = nil
	}
	return nil // what is no YAML has no images
}

func runs(list string) bool {
	return list == "containers" || list == "initContainers" || list == "ephemeralContainers"
}

// text takes what may be an image: one that a container runs is refused if nobody can read it.
func (c *custom) text(path, text string, runs bool) error {
	ref, err := imageref.Parse(text)
	if err != nil {
		if ref, err = imageref.Parse(strings.ToLower(strings.TrimSpace(text))); err != nil && (!runs || text == "") {
			return nil
		}
		if err != nil || c.policy.Demands(ref.Name()) != "" {
			return fmt.Errorf("%s: %.100q is not an image reference, so that nobody can tell whether it must be signed", path, text)
		}
		return nil
	}
	image, demanded, err := c.policy.demand(path, ref)
	if demanded && !slices.Contains(c.images, image) {
		c.images = append(c.images, image)
	}
	return err
}
