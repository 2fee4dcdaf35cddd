package migrate

import (
	"path"
	"regexp"
	"strings"

	"github.com/tandem-cd/tandem/shared/imageref"
)

const updaterPrefix = "argocd-image-updater.argoproj.io/"

// target is an Application with the images to update in it.
type target struct {
	object

	images []wanted
	// back says how changes are written: its method and the place.
	method, place, branch, repository value
}

// wanted is an image of an Application with its settings.
type wanted struct {
	at       value  // where it is named
	text     string // "ghcr.io/acme/api:~1.2"
	alias    string
	settings func(name string) value
}

// updater reads Argo CD Image Updater's annotations, and its ImageUpdaters.
func (c *collector) updater() {
	var applications []object
	for _, o := range c.objects {
		if o.group != "argoproj.io" {
			continue
		}
		if o.kind == "Application" {
			applications = append(applications, o)
		}
		if template := o.at("spec", "template"); o.kind == "ApplicationSet" && template.exists() {
			inner := object{value: template, group: o.group, kind: "Application", namespace: o.namespace, name: o.name}
			if inner.annotation(updaterPrefix + "image-list").exists() {
				c.note(template, "ApplicationSet "+o.name, "its Applications became one pipeline; give it an environment for each of their paths")
			}
			applications = append(applications, inner)
		}
	}
	for _, a := range applications {
		if list := a.annotation(updaterPrefix + "image-list"); list.exists() {
			c.application(annotated(a, list))
		}
	}
	for _, o := range c.objects {
		if o.group == "argocd-image-updater.argoproj.io" && o.kind == "ImageUpdater" {
			c.imageUpdater(o, applications)
		}
	}
}

// annotated reads the images of an Application's annotations.
func annotated(a object, list value) target {
	setting := func(name string) value { return a.annotation(updaterPrefix + name) }
	t := target{object: a, method: setting("write-back-method"), place: setting("write-back-target"), branch: setting("git-branch"), repository: setting("git-repository")}
	for text := range strings.SplitSeq(list.text(), ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		alias, image, found := strings.Cut(text, "=")
		if !found {
			alias, image = "", text
		}
		t.images = append(t.images, wanted{at: list, text: image, alias: strings.TrimSpace(alias), settings: func(name string) value {
			if own := setting(alias + "." + name); alias != "" && own.exists() {
				return own
			}
			return setting(name)
		}})
	}
	return t
}

// application makes a pipeline of an Application.
func (c *collector) application(t target) {
	a := c.newApp(t.name, "Application "+t.name, c.editedFolder(t), t.value)
	for _, w := range t.images {
		ref, rest, err := cutConstraint(w.text)
		if err != nil {
			c.note(w.at, "image "+w.text, "%v", err)
			continue
		}
		r := c.updaterRules(w, rest)
		name := w.alias
		if name == "" {
			name = path.Base(ref.Name())
		}
		if name = a.add(name, w.at, ref, r); a.shared(ref) {
			c.note(w.at, "image "+w.text, "several images have this repository; mark the places of this one: # tandem: %s", name)
		}
		for _, left := range updaterLeft() {
			if at := w.settings(left.field); at.exists() {
				c.note(at, left.field, "%s", left.why)
			}
		}
	}
	if t.branch.exists() {
		c.note(t.branch, "git-branch", "%s", ownBranch)
	}
}

// cutConstraint divides "ghcr.io/acme/api:~1.2", in which the tag is a constraint.
func cutConstraint(text string) (ref imageref.Reference, constraint string, err error) {
	name := text
	if colon := strings.LastIndexByte(text, ':'); colon > strings.LastIndexByte(text, '/') {
		name, constraint = text[:colon], text[colon+1:]
	}
	ref, err = imageref.Parse(name)
	return ref, constraint, err
}

// editedFolder is where the images of an Application stand in Git.
func (c *collector) editedFolder(t target) string {
	source := t.at("spec", "source")
	if sources := t.at("spec", "sources").items(); !source.exists() && len(sources) > 0 {
		source = sources[0]
		c.note(t.at("spec", "sources"), "spec.sources", "the first source's path was taken; correct the path of the environment if images stand elsewhere")
	}
	if method, _, _ := strings.Cut(t.method.text(), ":"); method != "git" {
		c.note(t.value, "write-back-method", "changes went into the live Application; from now on they are commits to images in the folder of its file")
		return t.folder()
	}
	if t.repository.exists() {
		c.note(t.repository, "git-repository", "the pipeline belongs into that repository; move the file there")
	} else if url := source.at("repoURL"); url.exists() {
		c.note(url, "spec.source.repoURL", "the pipeline belongs into this repository; move the file there if it is another one")
	}
	folder := source.at("path").text()
	kind, file, _ := strings.Cut(t.place.text(), ":")
	switch {
	case kind == "kustomization" && file != "":
		folder = under(folder, file)
	case kind == "helmvalues" && file != "":
		folder = path.Dir(under(folder, file))
	case kind == "" && t.method.exists():
		c.note(t.method, "write-back-target", "there is no file .argocd-source-%s.yaml any more; images are edited where they stand in %s, so remove that file", t.name, cleanPath(folder))
	}
	return folder
}

// under is a path as a write-back target gives it: from the root, or from the
// source's path.
func under(folder, file string) string {
	if strings.HasPrefix(file, "/") {
		return file
	}
	return path.Join("/", folder, file)
}

// updaterRules translates an image's settings.
func (c *collector) updaterRules(w wanted, constraint string) rules {
	var r rules
	strategy := w.settings("update-strategy")
	switch strategy.text() {
	case "", "semver":
		if constraint != "" {
			r.order, r.value = "semver", constraint
		}
	case "latest", "newest-build":
		r.order, r.value = "newest", "created"
	case "name", "alphabetical":
		r.order, r.value = "lexical", "asc"
	case "digest":
		r.order, r.value = "follow", constraint
		if constraint == "" {
			r.value = "latest"
		}
	default:
		c.note(strategy, "update-strategy", "%q is not a strategy that is understood; the newest version is taken", strategy.text())
	}
	if constraint != "" && (r.order == "newest" || r.order == "lexical") {
		c.note(w.at, "image "+w.text, "this strategy takes no constraint; %q was left out", constraint)
	}
	c.updaterFilters(&r, w)
	return r
}

func (c *collector) updaterFilters(r *rules, w wanted) {
	allow := w.settings("allow-tags")
	if text := allow.text(); text != "" && text != "any" {
		expression, ok := strings.CutPrefix(text, "regexp:")
		if _, err := regexp.Compile(expression); !ok || err != nil {
			c.note(allow, "allow-tags", "%q is not understood; it was left out", text)
		} else {
			r.allow = expression
		}
	}
	ignore := w.settings("ignore-tags")
	var globs []string
	for text := range strings.SplitSeq(ignore.text(), ",") {
		globs = append(globs, strings.TrimSpace(text))
	}
	for _, item := range ignore.items() {
		globs = append(globs, item.text())
	}
	var denied []string
	for _, glob := range globs {
		switch expression := globExpression(glob); {
		case glob == "":
		case expression == "":
			c.note(ignore, "ignore-tags", "it ignores every tag; the image is held")
			r.hold = "every tag was ignored"
		default:
			denied = append(denied, expression)
		}
	}
	r.deny = strings.Join(denied, "|")
	c.updaterPlatforms(r, w.settings("platforms"))
}

func (c *collector) updaterPlatforms(r *rules, at value) {
	var platforms []string
	for text := range strings.SplitSeq(at.text(), ",") {
		if text = strings.TrimSpace(text); text != "" {
			platforms = append(platforms, text)
		}
	}
	for _, item := range at.items() {
		platforms = append(platforms, item.text())
	}
	if len(platforms) > 0 {
		r.platform = platforms[0]
	}
	if len(platforms) > 1 {
		c.note(at, "platforms", "an image has one platform here; %s was taken", platforms[0])
	}
}

func updaterLeft() []leftover {
	const found = "places are found by the repository; where the name of a value says nothing, mark it"
	return []leftover{
		{"pull-secret", inAutomator},
		{"force-update", "an image that runs nowhere is updated like any other"},
		{"helm.image-name", found},
		{"helm.image-tag", found},
		{"helm.image-spec", found},
		{"kustomize.image-name", found},
	}
}
