package trust

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// setOptions reads the options of an allowed_signers line.
func (k *Key) setOptions(field string) error {
	quoted := false
	options := strings.FieldsFunc(field, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && r == ','
	})
	if quoted {
		return fmt.Errorf("option %q has no closing quote", field)
	}
	for _, option := range options {
		if err := k.setOption(option); err != nil {
			return err
		}
	}
	return nil
}

func (k *Key) setOption(option string) error {
	name, value, _ := strings.Cut(option, "=")
	value = strings.Trim(value, `"`)
	var err error
	switch strings.ToLower(name) {
	case "valid-after":
		k.From, err = parseTime(value)
	case "valid-before":
		k.Until, err = parseTime(value)
	case "namespaces":
		if patterns := strings.Split(value, ","); !slices.Contains(patterns, "git") && !slices.Contains(patterns, "*") {
			err = fmt.Errorf("the key is for the namespaces %q and not for git", value)
		}
	case "cert-authority":
		err = fmt.Errorf("%s is not supported: list the keys themselves", name)
	default:
		err = fmt.Errorf("option %q is not supported", name)
	}
	return err
}

// parseTime reads YYYYMMDD[HHMM[SS]] with an optional Z.
func parseTime(text string) (time.Time, error) {
	digits := strings.TrimSuffix(text, "Z")
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) != len(layout) {
			continue
		}
		if t, err := time.Parse(layout, digits); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 20260131 or 202601312359", text)
}
