package migrate

import (
	"path"
	"regexp"
	"strings"
)

// byFolder is a pipeline for each folder of workloads.
type byFolder struct {
	*collector

	apps map[string]*app
	what string
}

func (c *collector) byFolder(what string) byFolder {
	return byFolder{collector: c, apps: map[string]*app{}, what: what}
}

// take adds the image of a container to the pipeline of its folder.
func (b byFolder) take(o object, from container, r rules) {
	folder := o.folder()
	a := b.apps[folder]
	if a == nil {
		name := path.Base(folder)
		if folder == "." {
			name = o.name
		}
		a = b.newApp(name, b.what, folder, o.value)
		b.apps[folder] = a
	}
	name := a.add(path.Base(from.ref.Name()), from.image, from.ref, r)
	if a.shared(from.ref) {
		b.note(from.image, "image", "several images have this repository, with other rules; mark this place: # tandem: %s", name)
	}
}

// fluxV1 reads the annotations of Flux before its second version.
func (c *collector) fluxV1() {
	folders := c.byFolder("workloads of Flux v1")
	for _, o := range c.objects {
		for _, prefix := range []string{"fluxcd.io/", "flux.weave.works/"} {
			if o.annotation(prefix+"automated").text() == "true" {
				c.fluxV1Workload(folders, o, prefix)
			}
		}
	}
}

func (c *collector) fluxV1Workload(folders byFolder, o object, prefix string) {
	containers := o.containers()
	if len(containers) == 0 {
		c.note(o.annotation(prefix+"automated"), o.kind+" "+o.name, "no containers with an image; add the images by hand")
		return
	}
	known := map[string]bool{prefix + "automated": true, prefix + "locked": true, prefix + "locked_msg": true, prefix + "locked_user": true}
	for _, from := range containers {
		r := rules{}
		for _, key := range []string{prefix + "tag." + from.name, "filter." + prefix + from.name} {
			known[key] = true
			if at := o.annotation(key); at.exists() {
				r = c.fluxV1Rules(at, key)
			}
		}
		if o.annotation(prefix+"locked").text() == "true" {
			r.hold = "locked by " + prefix + "locked " + o.annotation(prefix+"locked_msg").text()
			r.hold = strings.TrimSpace(r.hold)
		}
		folders.take(o, from, r)
	}
	for _, p := range o.at("metadata", "annotations").pairs() {
		if strings.Contains(p.key, prefix) && !known[p.key] {
			c.note(p.value, p.key, "it names no container of this workload, or has no equivalent")
		}
	}
}

// fluxV1Rules translates "semver:~1.0", "glob:master-*" and "regex:^v".
func (c *collector) fluxV1Rules(at value, key string) rules {
	kind, text, found := strings.Cut(at.text(), ":")
	if !found {
		kind, text = "glob", at.text()
	}
	switch kind {
	case "semver":
		return rules{order: "semver", value: text}
	case "glob":
		return rules{order: "newest", value: "created", allow: globExpression(text)}
	case "regex", "regexp":
		if _, err := regexp.Compile(text); err == nil {
			return rules{order: "newest", value: "created", allow: text}
		}
	}
	c.note(at, key, "%q is not a filter that is understood; the newest version is taken", at.text())
	return rules{}
}

// globExpression is a shell pattern as an expression; empty if it takes everything.
func globExpression(glob string) string {
	if glob == "*" {
		return ""
	}
	expression := regexp.QuoteMeta(glob)
	expression = strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(expression)
	return "^" + expression + "$"
}
