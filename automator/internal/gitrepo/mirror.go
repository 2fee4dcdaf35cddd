package gitrepo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// mirrorConfig is the whole configuration file of a mirror. It notes which remote the mirror is of; what git is told comes
// by environment, the address too: git pushes to each address it finds, so that naming it here as well would push twice.
func (c Config) mirrorConfig(a gitobject.Algorithm) string {
	var b strings.Builder
	version, extensions := 0, ""
	if a == gitobject.SHA256 {
		version, extensions = 1, "[extensions]\n\tobjectformat = sha256\n"
	}
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(c.URL) + `"`
	fmt.Fprintf(&b, "[core]\n\trepositoryformatversion = %d\n\tbare = true\n%s", version, extensions)
	fmt.Fprintf(&b, "[tandem]\n\tremote = %s\n", quoted)
	return b.String()
}

// mirrorAlgorithm is the hash of the mirror in gitDir, or 0 when there is none of this remote.
func (c Config) mirrorAlgorithm(gitDir string) (gitobject.Algorithm, error) {
	raw, err := os.ReadFile(filepath.Join(gitDir, "config"))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, a := range []gitobject.Algorithm{gitobject.SHA1, gitobject.SHA256} {
		if c.mirrorConfig(a) == string(raw) {
			return a, nil
		}
	}
	return 0, nil
}

// create makes an empty mirror, which appears at once and whole.
func (r *Repo) create(a gitobject.Algorithm) error {
	dir, err := os.MkdirTemp(r.cfg.Dir, "new-")
	if err != nil {
		return err
	}
	for _, sub := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{"HEAD": "ref: refs/heads/main\n", "config": r.cfg.mirrorConfig(a)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	if err := os.Rename(dir, r.gitDir()); err != nil {
		return err
	}
	r.setAlgorithm(a)
	return nil
}
