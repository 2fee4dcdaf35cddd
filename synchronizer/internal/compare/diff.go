package compare

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"sigs.k8s.io/yaml"
)

// MaxDiff bounds the difference of one object as YAML, in bytes.
const MaxDiff = 64 << 10

// unified shows two states as YAML in the unified format.
func unified(before, after map[string]any) string {
	whole := diff.Diff("cluster", text(before), "git", text(after))
	_, body, _ := bytes.Cut(whole, []byte("\n")) // the line of a command that nobody gave
	if len(body) <= MaxDiff {
		return string(body)
	}
	shown := strings.ToValidUTF8(string(body[:MaxDiff]), "")
	if end := strings.LastIndexByte(shown, '\n'); end > 0 {
		shown = shown[:end]
	}
	return fmt.Sprintf("%s\n(%d bytes more)\n", shown, len(body)-len(shown))
}

func text(object map[string]any) []byte {
	if object == nil {
		return nil
	}
	out, err := yaml.Marshal(object)
	if err != nil {
		return []byte("(cannot be shown)\n") // not what a decoder of JSON makes
	}
	return out
}
