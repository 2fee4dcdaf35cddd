package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/config"
)

type sample struct {
	Name  string          `yaml:"name"`
	Every config.Duration `yaml:"every"`
}

func (s *sample) Validate() error {
	if s.Name == "" {
		return errors.New("name is missing")
	}
	return nil
}

func TestDecode(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		data   string
		want   string // a part of the error
	}{
		"UnknownKey":  {reason: "A typing error must not be ignored.", data: "name: a\nnmae: b\n", want: "line 2: unknown key nmae"},
		"TwoDocs":     {reason: "A second document would be ignored.", data: "name: a\n---\nname: b\n", want: "only one YAML document"},
		"BadDuration": {reason: "A bare number has no unit.", data: "name: a\nevery: 30\n", want: `line 2: "30" is not a duration`},
		"Invalid":     {reason: "Validate is part of decoding.", data: "", want: "name is missing"},
		"Twice":       {reason: "A key given twice has two meanings.", data: "name: a\nname: b\n", want: "already defined"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := config.Decode([]byte(tc.data), &sample{})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nDecode(...): got %v, want %q in it", tc.reason, err, tc.want)
			}
		})
	}
	typed := "every: s3cret-one\nname: {s3cret-two: 1}\n"
	if err := config.Decode([]byte(typed), &sample{}); err == nil || strings.Contains(err.Error(), "s3cret-two") {
		t.Errorf("Decode(wrong types): got %v, want an error without the value", err)
	}
	var got sample
	if err := config.Decode([]byte("name: a\nevery: 90s\n"), &got); err != nil || got.Every.Or(0) != 90*time.Second {
		t.Errorf("Decode(good): got %+v, %v", got, err)
	}
}

func TestReadSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	if err := os.WriteFile(path, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := config.ReadSecret(path); err != nil || got != "s3cret" {
		t.Errorf("ReadSecret(...): got %q, %v", got, err)
	}
	if err := os.WriteFile(path, make([]byte, config.MaxFileSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.ReadSecret(path); err == nil {
		t.Error("ReadSecret(too large): got no error")
	}
}
