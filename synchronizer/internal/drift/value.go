package drift

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/tandem-cd/tandem/synchronizer/internal/baseline"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// maxValue bounds a value that is told, in bytes.
const maxValue = 64

const (
	takenOver = "was taken over"
	differs   = "differs"
)

// says is what is the matter with a field, with the values where they may be told.
func says(key object.Key, d baseline.Difference) string {
	switch {
	case d.FoundAbsent:
		return "is missing"
	case d.WantAbsent:
		return "is there"
	case d.Taken():
		return takenOver
	}
	found, tellFound := told(d.Found)
	want, tellWant := told(d.Want)
	if !tellFound || !tellWant || secret(key, d.Path) {
		return differs
	}
	return "is " + found + " and not " + want
}

// told is a value as text; false for one that says too much.
func told(v any) (string, bool) {
	switch v := v.(type) {
	case map[string]any, []any:
		return "", false
	case string:
		return strconv.Quote(v), len(v) <= maxValue && !strings.Contains(v, "\n")
	default:
		text, err := json.Marshal(v)
		return string(text), err == nil
	}
}

// sensitive are parts of names that speak of values which nobody is told.
var sensitive = []string{"pass", "pwd", "secret", "token", "credential", "private", "auth", "apikey", "api-key", "api_key", "f:env"} //nolint:gochecknoglobals // a constant

// secret reports whether the value at a path is better not told.
func secret(key object.Key, path []string) bool {
	if key.Group == "" && key.Kind == "Secret" {
		return true
	}
	for _, element := range path {
		element = strings.ToLower(element)
		for _, part := range sensitive {
			if strings.Contains(element, part) {
				return true
			}
		}
	}
	return false
}
