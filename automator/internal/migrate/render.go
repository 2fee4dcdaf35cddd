package migrate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/tandem-cd/tandem/shared/imageref"
)

// app is a pipeline to write.
type app struct {
	name string
	// from is what it was made of, and what that is called.
	from   value
	what   string
	images []image
	env    string
	path   string
}

// image is one of a pipeline.
type image struct {
	name, repository string
	rules            rules
	from             value
}

// rules are what a pipeline says of an image's tags; the order is one key of a
// policy with its value.
type rules struct {
	order, value   string
	match, extract string
	preReleases    bool
	platform, hold string
	allow, deny    string // at most one expression each, empty for none
}

// newApp begins a pipeline with one environment.
func (c *collector) newApp(name, what, folder string, from value) *app {
	folder = cleanPath(folder)
	name = unique(cleanName(name), func(n string) bool { return c.apps[n] != nil })
	a := &app{name: name, from: from, what: what, env: cleanName(path.Base(folder)), path: folder}
	if folder == "." {
		a.env = "main"
	}
	c.apps[name] = a
	return a
}

// add takes an image in and returns its name; one that is there with the same
// rules is taken once.
func (a *app) add(name string, from value, repository imageref.Reference, r rules) string {
	written := repository
	written.Tag, written.Digest = "", ""
	for _, i := range a.images {
		if i.repository == written.String() && i.rules == r {
			return i.name
		}
	}
	name = unique(cleanName(name), func(n string) bool {
		for _, i := range a.images {
			if i.name == n {
				return true
			}
		}
		return false
	})
	a.images = append(a.images, image{name, written.String(), r, from})
	return name
}

// shared tells whether several images have one repository, so that markers have to
// tell them apart.
func (a *app) shared(repository imageref.Reference) bool {
	n := 0
	for _, i := range a.images {
		if ref, err := imageref.Parse(i.repository); err == nil && ref.Name() == repository.Name() {
			n++
		}
	}
	return n > 1
}

func (a *app) render(source Source) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Made by `tandem import %s` of %s.\nversion: 1\napp: %s\nimages:\n", source, a.from.file, a.name)
	for _, i := range a.images {
		fmt.Fprintf(&b, "- name: %s\n  repository: %s\n", i.name, i.repository)
		if policy := i.rules.policy(); policy != "" {
			fmt.Fprintf(&b, "  policy: {%s}\n", policy)
		}
		for _, line := range []struct{ key, text string }{{"platform", i.rules.platform}, {"hold", i.rules.hold}} {
			if line.text != "" {
				fmt.Fprintf(&b, "  %s: %s\n", line.key, quote(line.text))
			}
		}
		for _, list := range []struct{ key, text string }{{"allow", i.rules.allow}, {"deny", i.rules.deny}} {
			if list.text != "" {
				fmt.Fprintf(&b, "  %s: [%s]\n", list.key, quote(list.text))
			}
		}
	}
	fmt.Fprintf(&b, "environments:\n- name: %s\n  path: %s\n", a.env, quote(a.path))
	return b.Bytes()
}

func (r rules) policy() string {
	var parts []string
	for _, p := range []struct{ key, text string }{{r.order, r.value}, {"match", r.match}, {"extract", r.extract}} {
		if p.key != "" && p.text != "" {
			parts = append(parts, p.key+": "+quote(p.text))
		}
	}
	if r.preReleases {
		parts = append(parts, "preReleases: true")
	}
	return strings.Join(parts, ", ")
}

// quote writes a text as JSON does, which YAML reads the same.
func quote(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		return strconv.Quote(text)
	}
	return strings.TrimSpace(b.String())
}

const maxName = 63 // of a name in a pipeline

// cleanName makes a name of a pipeline out of any text.
func cleanName(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	name := strings.Trim(b.String()[:min(b.Len(), maxName)], "-")
	if name == "" || name == "clusters" { // .tandem/clusters.yaml is something else
		return "imported"
	}
	return name
}

func unique(name string, taken func(string) bool) string {
	if !taken(name) {
		return name
	}
	for n := 2; ; n++ {
		suffix := "-" + strconv.Itoa(n)
		if next := name[:min(len(name), maxName-len(suffix))] + suffix; !taken(next) {
			return next
		}
	}
}

// cleanPath is a folder as pipelines write it, "." for the root.
func cleanPath(folder string) string {
	folder = strings.TrimPrefix(path.Clean("/"+folder), "/")
	if folder == "" {
		return "."
	}
	return folder
}
