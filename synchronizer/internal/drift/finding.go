package drift

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

const (
	// maxFields bounds the fields that a finding names.
	maxFields = 5
	// maxPath bounds the text of a path, in bytes.
	maxPath = 160
)

// Finding is what is known of an object that is not as it should be.
type Finding struct {
	// Fields are the first of those that differ, at most maxFields, and More is how many others there are.
	Fields []Field
	More   int
}

// Field is one that differs.
type Field struct {
	// Path is how people write it, such as .spec.template.spec.containers[name="web"].image.
	Path string
	// Pointer is the field as the annotation tandem.dev/ignore names it; empty for one that it cannot name.
	Pointer string
	// Says is what is the matter with it, such as "is 5 and not 2".
	Says string
	// Author is who made it so; the zero value when nobody is known.
	Author baseline.Author
}

// Changes says what somebody changed in an object: in found, compared with healed, which is what our apply leaves.
func Changes(key object.Key, found, healed *unstructured.Unstructured) Finding {
	return findingOf(baseline.Compare(found, healed, v1alpha1.FieldManager), func(d baseline.Difference) Field {
		f := Field{Says: says(key, d)}
		f.Author, _ = baseline.AuthorOf(found, d.Path, v1alpha1.FieldManager, v1alpha1.IgnoredManager)
		return f
	})
}

// Rewritten says what admission made of an object on its way: what the answer to our apply has and we did not send.
func Rewritten(key object.Key, desired, answer *unstructured.Unstructured) Finding {
	return findingOf(baseline.Rewritten(desired, answer, v1alpha1.FieldManager), func(d baseline.Difference) Field {
		return Field{Says: says(key, d)}
	})
}

func findingOf(differences []baseline.Difference, field func(baseline.Difference) Field) Finding {
	var f Finding
	for _, d := range differences[:min(len(differences), maxFields)] {
		named := field(d)
		named.Path, named.Pointer = textOf(d.Path), pointerOf(d.Path)
		f.Fields = append(f.Fields, named)
	}
	f.More = len(differences) - len(f.Fields)
	return f
}

// IsZero reports whether nothing differs, or nobody looked.
func (f Finding) IsZero() bool { return len(f.Fields) == 0 }

// Moved reports whether a value differs, and not only who owns it.
func (f Finding) Moved() bool {
	return slices.ContainsFunc(f.Fields, func(field Field) bool { return field.Says != takenOver })
}

// Paths are the paths of the fields.
func (f Finding) Paths() []string {
	paths := make([]string, len(f.Fields))
	for i, field := range f.Fields {
		paths[i] = field.Path
	}
	return paths
}

// Managers name who is behind it, each once, in the order of the fields.
func (f Finding) Managers() []string {
	var names []string
	for _, field := range f.Fields {
		if name := nameOf(field.Author); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// nameOf is a manager with the subresource that it wrote by.
func nameOf(a baseline.Author) string {
	if a.Subresource != "" {
		return a.Manager + " by " + a.Subresource
	}
	return a.Manager
}

// String is what people are told: every author with the fields, such as
// "changed by kubectl-edit (Update, 2026-11-26T03:07:36Z): .spec.replicas is 5 and not 2".
func (f Finding) String() string {
	var out strings.Builder
	for i, field := range f.Fields {
		switch by := byline(field.Author); {
		case i > 0 && by == byline(f.Fields[i-1].Author):
			out.WriteString(", ")
		case i > 0:
			out.WriteString("; " + by)
		default:
			out.WriteString(by)
		}
		out.WriteString(field.Path + " " + field.Says)
	}
	if f.More > 0 {
		fmt.Fprintf(&out, " and %d more", f.More)
	}
	return out.String()
}

func byline(a baseline.Author) string {
	if a.Manager == "" {
		return ""
	}
	verb := "last written by"
	if a.Owns {
		verb = "changed by"
	}
	details := []string{a.Operation}
	if a.Subresource != "" {
		details[0] += " of " + a.Subresource
	}
	if a.Time != "" {
		details = append(details, a.Time)
	}
	return fmt.Sprintf("%s %s (%s): ", verb, a.Manager, strings.Join(details, ", "))
}

// textOf is a path as the API server writes it in its own messages.
func textOf(path []string) string {
	var elements fieldpath.Path
	for _, text := range path {
		element, err := fieldpath.DeserializePathElement(text)
		if err != nil {
			break // of a kind from the future: what is before it says enough
		}
		elements = append(elements, element)
	}
	text := elements.String()
	if len(text) > maxPath {
		text = text[:maxPath-3] + "..."
	}
	return text
}

var escape = strings.NewReplacer("~", "~0", "/", "~1") //nolint:gochecknoglobals // a constant

// pointerOf is a path of fields as a JSON pointer (RFC 6901).
func pointerOf(path []string) string {
	var pointer strings.Builder
	for _, element := range path {
		name, isField := strings.CutPrefix(element, "f:")
		if !isField || strings.Contains(name, ",") {
			return ""
		}
		pointer.WriteString("/" + escape.Replace(name))
	}
	if pointer.Len() > maxPath {
		return ""
	}
	return pointer.String()
}
