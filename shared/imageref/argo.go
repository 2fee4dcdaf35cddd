package imageref

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// parameters notes the images among parameters as charts are given them: a list of
// names, with dots, and values. It returns the items that belong to one.
func (f *finder) parameters(list place) {
	groups := map[string]fields{} // by what the names have before the last dot
	labels := map[*yaml.Node]string{}
	var prefixes []string
	for i, item := range list.node.Content {
		name, value := lookup(item, "name"), lookup(item, "value")
		if textOf(name) == "" || value == nil {
			continue
		}
		prefix, last := cutLast(textOf(name))
		if groups[prefix] == nil {
			groups[prefix] = fields{}
			prefixes = append(prefixes, prefix)
		}
		groups[prefix][plainKey(last)] = value
		labels[value] = "[" + itoa(i) + "].value"
	}
	for _, prefix := range prefixes {
		_, parent := cutLast(prefix)
		s := scope{place: list, parent: parent, all: groups[prefix], labels: labels, taken: map[*yaml.Node]bool{}}
		for _, key := range sortedKeys(groups[prefix]) {
			if isVersionKey(key) {
				f.freeGroup(s, key)
			}
		}
		for _, key := range sortedKeys(groups[prefix]) {
			if value := groups[prefix][key]; !s.taken[value] {
				f.freeValue(f.enter(list, value, list.fields+labels[value]), key, false)
			}
		}
	}
}

func cutLast(name string) (prefix, last string) {
	at := strings.LastIndexByte(name, '.')
	return name[:max(at, 0)], name[at+1:]
}

// renamed notes an image as Kustomize's command line and Argo CD write it: the
// name that it replaces, an equals sign, and the reference.
func (f *finder) renamed(p place, old string) {
	f.images++
	t := f.target(p)
	t.Group, t.Fixed, t.Image = f.images, true, imageOf(strings.TrimPrefix(p.node.Value, old))
	style, length := scanToken(f.file[t.Start:], p.node)
	t.prefix, t.Value = old, strings.TrimPrefix(p.node.Value, old)
	from := t.Start + len(old)
	if style != Plain {
		from++
	}
	switch end := from + len(t.Value); {
	case t.Locked != "":
	case length == 0 || p.node.Anchor != "" || p.node.Style&yaml.TaggedStyle != 0,
		end > len(f.file) || string(f.file[from:end]) != t.Value:
		t.Locked = "it is not written plainly on one line"
	default:
		t.Comment = f.comment(t.Line, t.Start+length)
		t.Marker = markerOf(t.Comment)
		t.Column += from - t.Start
		t.Start, t.End, t.Style = from, end, Raw
	}
	f.note(t)
}
