package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	kjson "sigs.k8s.io/json"
)

// json reads one or more JSON documents.
func (f *file) json(content []byte) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	for {
		start := skipSpace(content, decoder.InputOffset())
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			f.objects = nil // as with YAML: half of a file would be a guess
			f.problem(lineAt(content, failedAt(err, content)), "is not valid JSON: %s", err)
			return
		}
		f.jsonDocument(raw, lineAt(content, start))
	}
}

func (f *file) jsonDocument(raw []byte, line int) {
	var v any
	strict, err := kjson.UnmarshalStrict(raw, &v, kjson.DisallowDuplicateFields)
	if err != nil { // it has the number in it, which may be a Secret's
		f.problem(line, "is not valid JSON: a number in it is too large, or it is nested too deep")
		return
	}
	if len(strict) > 0 {
		f.problem(line, "is not valid JSON: %s", strict[0])
		return
	}
	content, ok := v.(map[string]any)
	kind, _ := content["kind"].(string)
	items, list := content["items"].([]any)
	switch {
	case !ok:
		f.problem(line, "holds something that is no Kubernetes object; move it out of the rendered path")
	case list && strings.HasSuffix(kind, "List"):
		f.jsonItems(items, line)
	default:
		f.jsonObject(content, line)
	}
}

func (f *file) jsonItems(items []any, line int) {
	for _, item := range items {
		content, ok := item.(map[string]any)
		if kind, _ := content["kind"].(string); !ok || strings.HasSuffix(kind, "List") && content["items"] != nil {
			f.problem(line, "holds a List with an item that is no object; write the items out")
			continue
		}
		f.jsonObject(content, line)
	}
}

func (f *file) jsonObject(content map[string]any, line int) {
	if deep(content, MaxNesting) {
		f.problem(line, "holds values that are nested more than %d deep", MaxNesting)
		return
	}
	f.add(content, line, func(...string) int { return line })
}

// deep reports whether v is nested more than most levels.
func deep(v any, most int) bool {
	if most < 0 {
		return true
	}
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			if deep(item, most-1) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if deep(item, most-1) {
				return true
			}
		}
	}
	return false
}

func skipSpace(content []byte, from int64) int64 {
	for from < int64(len(content)) && strings.ContainsRune(" \t\r\n", rune(content[from])) {
		from++
	}
	return from
}

func failedAt(err error, content []byte) int64 {
	if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
		return syntax.Offset
	}
	return int64(len(content))
}

func lineAt(content []byte, offset int64) int {
	return 1 + bytes.Count(content[:min(offset, int64(len(content)))], []byte("\n"))
}
