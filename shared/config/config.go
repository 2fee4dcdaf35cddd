// Package config decodes configuration files: strict YAML, every problem with its line, secrets by file path.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// MaxFileSize bounds a configuration or secret file, in bytes.
const MaxFileSize = 1 << 20

// Validator is a configuration that checks itself after decoding. It fills defaults and returns every problem joined.
type Validator interface {
	Validate() error
}

// ReadFile decodes the YAML file at path into a struct and validates it.
func ReadFile(path string, into Validator) error {
	data, err := readBounded(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if err := Decode(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Decode decodes one YAML document into a struct and validates it. Unknown keys, keys given twice and a second document
// are errors.
func Decode(data []byte, into Validator) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return readable(err)
	}
	if err := dec.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return errors.New("only one YAML document is read; remove what follows \"---\"")
	}
	return into.Validate()
}

// yamlValue is a value that yaml quotes, after its tag; somebody may have written a secret where none belongs.
var yamlValue = regexp.MustCompile("(!!\\w+) `[^`]*`")

// readable puts what yaml found into the words of a user.
func readable(err error) error {
	var typed *yaml.TypeError
	if !errors.As(err, &typed) {
		return err
	}
	problems := make([]error, 0, len(typed.Errors))
	for _, text := range typed.Errors {
		text = strings.Replace(yamlValue.ReplaceAllString(text, "$1"), "field ", "unknown key ", 1)
		if at := strings.Index(text, " not found in type "); at >= 0 {
			text = text[:at]
		}
		problems = append(problems, errors.New(text))
	}
	return errors.Join(problems...)
}

// ReadSecret returns the content of a secret's file without the line break at its end.
func ReadSecret(path string) (string, error) {
	data, err := readBounded(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxFileSize {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, MaxFileSize)
	}
	return data, nil
}

// Duration is a time.Duration that is written like "30s" or "5m".
type Duration time.Duration

// UnmarshalYAML reads a duration in Go's notation.
func (d *Duration) UnmarshalYAML(node *yaml.Node) error {
	var text string
	if err := node.Decode(&text); err != nil {
		return err
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("line %d: %q is not a duration; write it like \"30s\" or \"5m\"", node.Line, text)
	}
	*d = Duration(parsed)
	return nil
}

// Or returns the duration, or a default for zero.
func (d Duration) Or(fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return time.Duration(d)
}
