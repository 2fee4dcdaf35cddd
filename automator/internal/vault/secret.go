package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Secret is what is read of Vault: a path, as policies name it, and the fields there.
type Secret struct {
	// Path is that of the API without /v1: "secret/data/registry" for a KV of version 2 at secret, "kv/registry" for one of version
	// 1, "artifactory/token/pull" for what an engine makes when it is read.
	Path string `yaml:"path"`
	// UsernameField is the field with the user's name; empty where the configuration says the name.
	UsernameField string `yaml:"usernameField"`
	// PasswordField is the field with the password or token; empty means password.
	PasswordField string `yaml:"passwordField"`
	// DockerConfigField is a field with the text of a Docker config.json instead of both.
	DockerConfigField string `yaml:"dockerConfigField"`
}

const (
	// defaultPasswordField is where a password is unless it is said.
	defaultPasswordField = "password"
	// maxNames bounds the fields that are named in an error.
	maxNames = 20
)

// Given reports whether anything of it is.
func (s Secret) Given() bool { return s != Secret{} }

// Validate returns what is wrong with it.
func (s Secret) Validate() error {
	switch {
	case s.Path == "":
		return errors.New("path is missing, such as secret/data/registry")
	case strings.HasPrefix(s.Path, "v1/"):
		return errors.New("path begins with v1/; write what policies name, such as secret/data/registry")
	case s.DockerConfigField != "" && (s.UsernameField != "" || s.PasswordField != ""):
		return errors.New("dockerConfigField takes the place of usernameField and passwordField; remove one of them")
	}
	if err := checkPath(s.Path); err != nil {
		return fmt.Errorf("path %w", err)
	}
	return nil
}

// pick finds a name and a password among the fields of a secret. A Docker config.json is a password without a name.
func (s Secret) pick(fields map[string]json.RawMessage) (username, password string, err error) {
	if s.DockerConfigField != "" {
		password, err = textOf(fields, s.DockerConfigField)
		return "", password, err
	}
	if s.UsernameField != "" {
		if username, err = lineOf(fields, s.UsernameField); err != nil {
			return "", "", err
		}
	}
	field := s.PasswordField
	if field == "" {
		field = defaultPasswordField
	}
	password, err = lineOf(fields, field)
	return username, password, err
}

// lineOf reads a field that has one line, perhaps with a break at its end as files have it.
func lineOf(fields map[string]json.RawMessage, name string) (string, error) {
	text, err := textOf(fields, name)
	text = strings.TrimRight(text, "\r\n")
	if err == nil && strings.ContainsAny(text, "\r\n\x00") {
		err = fmt.Errorf("its field %q is not one line", name)
	}
	return text, err
}

func textOf(fields map[string]json.RawMessage, name string) (string, error) {
	raw, ok := fields[name]
	if !ok {
		return "", fmt.Errorf("it has no field %q; it has %s", name, namesOf(fields))
	}
	var text string
	if json.Unmarshal(raw, &text) != nil || text == "" {
		return "", fmt.Errorf("its field %q is not a text", name)
	}
	return text, nil
}

// namesOf lists the names of fields, and never their values.
func namesOf(fields map[string]json.RawMessage) string {
	if len(fields) == 0 {
		return "none"
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		names = append(names, fmt.Sprintf("%.60q", name))
	}
	if more := len(names) - maxNames; more > 0 {
		names = append(names[:maxNames], fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// fieldsOf returns the fields of what was read: the data of an answer, or in a KV of version 2 the data within, beside which
// there is metadata.
func fieldsOf(data map[string]json.RawMessage) map[string]json.RawMessage {
	var inner, metadata map[string]json.RawMessage
	if len(data) != 2 || json.Unmarshal(data["data"], &inner) != nil || json.Unmarshal(data["metadata"], &metadata) != nil {
		return data
	}
	if _, versioned := metadata["version"]; !versioned {
		return data
	}
	return inner
}
