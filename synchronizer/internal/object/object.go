// Package object names Kubernetes objects and the places in Git that they come from.
package object

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Key is the identity of an object. It has no version: the same object can be read and written in several.
type Key struct {
	Group     string
	Kind      string
	Namespace string // empty for a cluster-scoped object
	Name      string
}

// String is how people are told about the object: "Deployment/shop/web" or "Namespace/shop".
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Kind + "/" + k.Name
	}
	return k.Kind + "/" + k.Namespace + "/" + k.Name
}

// ID is the key as text that ParseID reads back: "Deployment.apps/shop/web" or "Namespace/shop".
// It is also the value of the owner annotation: an object whose annotation is not its own ID carries a copy.
func (k Key) ID() string {
	if k.Group == "" {
		return k.String()
	}
	kind := k
	kind.Kind += "." + k.Group
	return kind.String()
}

// ParseID reads what ID wrote.
func ParseID(s string) (Key, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return Key{}, fmt.Errorf("object id %q: want Kind.group/namespace/name or Kind.group/name", s)
	}
	if slices.Contains(parts, "") {
		return Key{}, fmt.Errorf("object id %q has an empty part", s)
	}
	kind, group, _ := strings.Cut(parts[0], ".")
	key := Key{Group: group, Kind: kind, Name: parts[len(parts)-1]}
	if len(parts) == 3 {
		key.Namespace = parts[1]
	}
	if key.ID() != s {
		return Key{}, fmt.Errorf("object id %q is not in its canonical form %q", s, key.ID())
	}
	return key, nil
}

// Compare orders keys by group, kind, namespace and name.
func (k Key) Compare(other Key) int {
	return cmp.Or(
		cmp.Compare(k.Group, other.Group),
		cmp.Compare(k.Kind, other.Kind),
		cmp.Compare(k.Namespace, other.Namespace),
		cmp.Compare(k.Name, other.Name),
	)
}

// Origin is where an object is written in Git.
type Origin struct {
	File string // relative to the repository's root
	Line int    // from 1; 0 when unknown
}

// String is "file:line", or "file" when the line is unknown.
func (o Origin) String() string {
	if o.Line == 0 {
		return o.File
	}
	return o.File + ":" + strconv.Itoa(o.Line)
}
