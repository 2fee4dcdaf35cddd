package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// hexIDs rewrites protojson's base64 of ids: an object id becomes its hexadecimal text, and so do content and event ids.
// Everybody who meets these ids elsewhere, in Git or in a log, meets them as hexadecimal text.
func hexIDs(raw []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, fmt.Errorf("read own output: %w", err)
	}
	return json.Marshal(rewrite("", value))
}

func rewrite(key string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		if algorithm, ok := v["algorithm"].(string); ok && len(v) == 2 && algorithm != "" {
			if text, ok := v["value"].(string); ok {
				return toHex(text)
			}
		}
		for k, child := range v {
			v[k] = rewrite(k, child)
		}
		return v
	case []any:
		for i, child := range v {
			v[i] = rewrite(key, child)
		}
		return v
	case string:
		if key == "contentId" || key == "id" {
			return toHex(v)
		}
	}
	return value
}

func toHex(text string) string {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return text
	}
	return hex.EncodeToString(raw)
}
