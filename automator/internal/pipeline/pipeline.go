package pipeline

import (
	"fmt"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/shared/imageref"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/signature"
)

// Pipeline is one application on its way through its environments.
type Pipeline struct {
	// File is where it is written, such as ".tandem/checkout.yaml".
	File string
	App  string
	// Line is where the app is named.
	Line         int
	Images       []Image
	Environments []Environment // in the order of promotion; at least one
}

// Image is an image that a pipeline moves.
type Image struct {
	// Name is what the pipeline and markers call it.
	Name string
	// Repository has neither a tag nor a digest.
	Repository imageref.Reference
	Policy     policy.Policy
	// Verify says by whom an image must be signed before it is written.
	Verify signature.Rules
	// Line is where it is written.
	Line int
}

// Environment is a place that an application runs at.
type Environment struct {
	Name string
	// Path is a folder or a file in the repository, in canonical form; "" is all
	// of it.
	Path string
	// Branch is the branch that Path is on; empty only if neither the environment
	// nor the [Home] names one.
	Branch string
	// Cluster reports whether the environment is healthy. It is empty as long as
	// nothing says which one does.
	Cluster string
	Promote Promote
	// Line is where it is written.
	Line int
}

// Promote says how a release comes into an environment.
type Promote string

// PromoteAuto commits it as soon as the environment before is healthy.
const PromoteAuto Promote = "auto"

// Parse reads a pipeline file of which nobody knows where it is. If there are
// problems, there is no pipeline.
func Parse(file string, data []byte) (*Pipeline, Problems) {
	return parse(Home{}, file, data)
}

func parse(home Home, file string, data []byte) (*Pipeline, Problems) {
	r := &reader{file: file, home: home}
	p := &Pipeline{File: file}
	if root := r.document(data); root != nil {
		r.pipeline(root, p)
	}
	if len(r.problems) > 0 {
		return nil, r.problems.sorted()
	}
	return p, nil
}

func (r *reader) pipeline(root *yaml.Node, p *Pipeline) {
	m, ok := r.mapping(root, "a pipeline", "version", "app", "images", "environments")
	if !ok {
		return
	}
	m.version()
	p.App = m.name("app", "checkout")
	if app := m.values["app"]; app != nil {
		p.Line = app.Line
	}
	images := names{reader: r, what: "image"}
	for _, n := range m.list("images", "[{name: api, repository: ghcr.io/acme/api}]") {
		image := r.image(n)
		images.once(image.Name, n)
		p.Images = append(p.Images, image)
	}
	environments := names{reader: r, what: "environment"}
	for _, n := range m.list("environments", "[{name: dev, path: env/dev}]") {
		e, path := r.environment(n)
		environments.once(e.Name, n)
		if path != nil {
			r.overlap(p.Environments, e, path)
			p.Environments = append(p.Environments, e)
		}
	}
}

// environment returns the node of the path too, nil if it cannot be used.
func (r *reader) environment(n *yaml.Node) (Environment, *yaml.Node) {
	e := Environment{Line: n.Line, Promote: PromoteAuto}
	m, ok := r.mapping(n, "an environment", "name", "path", "branch", "cluster", "promote")
	if !ok {
		return e, nil
	}
	e.Name = m.name("name", "dev")
	if m.values["cluster"] != nil {
		e.Cluster = m.name("cluster", "dev-eu")
	}
	e.Branch = m.branch()
	m.promote()
	text, path := m.text("path", "env/dev")
	if path != nil {
		e.Path, ok = r.path(text, path)
	}
	if !ok {
		path = nil
	}
	return e, path
}

func (m mapping) promote() {
	text, n := m.text("promote", "")
	switch {
	case n == nil, text == string(PromoteAuto):
	case text == "pr", text == "manual":
		m.atf(n, "promote: %s is not there yet; write auto, or leave the key out", text)
	default:
		m.atf(n, "promote is %s; write auto, or leave the key out", quote(text))
	}
}

// path returns a path in the form that the whole product compares paths in.
func (r *reader) path(text string, n *yaml.Node) (string, bool) {
	clean, err := revision.CleanPaths([]string{text})
	if err != nil {
		r.atf(n, "%v", err)
		return "", false
	}
	if text != clean[0] && text != "." {
		r.atf(n, "path %s: write %s", quote(text), quote(orDot(clean[0])))
		return "", false
	}
	return clean[0], true
}

func orDot(path string) string {
	if path == "" {
		return "."
	}
	return path
}

// overlap reports an environment in the folder of another one: what is written
// for the one would be written for the other too.
func (r *reader) overlap(others []Environment, e Environment, path *yaml.Node) {
	for _, other := range others {
		if other.Branch == e.Branch && overlaps(other.Path, e.Path) {
			r.atf(path, "path %s overlaps with %s of the environment %s on line %d; give each its own folder",
				quote(orDot(e.Path)), quote(orDot(other.Path)), other.Name, other.Line)
			return
		}
	}
}

func overlaps(a, b string) bool {
	return revision.CoveredBy([]string{a}, b) || revision.CoveredBy([]string{b}, a)
}

// namePattern is what names may look like that stand in trailers, markers and
// certificates.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (m mapping) name(key, example string) string {
	text, n := m.text(key, example)
	if n == nil {
		return ""
	}
	if !namePattern.MatchString(text) {
		m.atf(n, `%s is %s; use at most 63 lower case letters, digits and "-", such as %s`, key, quote(text), example)
		return ""
	}
	return text
}

// names reports names that are there twice.
type names struct {
	*reader

	what string
	seen map[string]int
}

func (s *names) once(name string, n *yaml.Node) {
	if name == "" {
		return
	}
	if s.seen == nil {
		s.seen = map[string]int{}
	}
	if first, found := s.seen[name]; found {
		s.atf(n, "the %s %s is there twice, first on line %d; %s", s.what, name, first, fmt.Sprintf("rename or remove one %s", s.what))
		return
	}
	s.seen[name] = n.Line
}
