package published_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// module is a published version of a project. Its checksum is the one of Go's checksum database, so that what is tested is
// what was read.
type module struct{ path, version, sum string }

// fetch has the go command bring the module into its cache, and returns the folder.
func (m module) fetch(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module published\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", m.path+"@"+m.version)
	download.Dir = dir
	download.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	var out, stderr bytes.Buffer
	download.Stdout, download.Stderr = &out, &stderr
	err := download.Run()
	var got struct{ Dir, Sum, Error string }
	if decodeErr := json.Unmarshal(out.Bytes(), &got); err != nil || decodeErr != nil {
		t.Fatalf("download %s@%s: %v %s %s", m.path, m.version, err, got.Error, stderr.String())
	}
	if got.Sum != m.sum {
		t.Fatalf("%s@%s has the checksum %s, want %s: this is not what the test was written for", m.path, m.version, got.Sum, m.sum)
	}
	return got.Dir
}

// read returns files of a module by their base names. A pattern is that of filepath.Glob.
func read(t *testing.T, dir string, patterns ...string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: no such file in the module: %v", pattern, err)
		}
		for _, path := range found {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name, _ := filepath.Rel(dir, path)
			files[strings.ReplaceAll(filepath.ToSlash(name), "/", "-")] = string(content)
		}
	}
	return files
}

// without removes the one document of a file that has a line, and says so when there is none or more than one.
func without(text, line string) (string, error) {
	documents := strings.Split(text, "\n---\n")
	var kept []string
	for _, document := range documents {
		if !strings.Contains("\n"+document+"\n", "\n"+line+"\n") {
			kept = append(kept, document)
		}
	}
	if len(kept) != len(documents)-1 {
		return "", fmt.Errorf("%d documents have the line %q, want one", len(documents)-len(kept), line)
	}
	return strings.Join(kept, "\n---\n"), nil
}
