package env

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

// sample is a small application as a team would keep it in Git.
//
//go:embed sample
var sample embed.FS

// SampleApp is the name of the sample's pipeline, and SampleSync of what deploys it.
const (
	SampleApp  = "shop"
	SampleSync = "shop"
)

// Sample are the files of a small application: a Deployment, a Service and a
// ConfigMap in env/<site>, its pipeline, and the grant for one cluster. image is
// what it runs at first, repository:tag@digest.
func (w *World) Sample(site, image string) (map[string]string, error) {
	repository, _, _ := strings.Cut(image, "@")
	repository = repository[:strings.LastIndex(repository, ":")]
	node := ""
	if name := w.NodeName(); name != "" {
		node = fmt.Sprintf("\n      nodeName: %s # what the cluster's own nodes cannot pull", name)
	}
	replace := strings.NewReplacer("SITE", site, "IMAGE", image, "REPOSITORY", repository, "#NODE", node)
	files := map[string]string{}
	err := fs.WalkDir(sample, "sample", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := sample.ReadFile(path)
		name := strings.TrimPrefix(path, "sample/")
		name = strings.Replace(strings.Replace(name, "tandem/", ".tandem/", 1), "env/site/", "env/"+site+"/", 1)
		files[name] = replace.Replace(string(content))
		return err
	})
	return files, err
}

// SampleSyncFor is the Sync that deploys the sample at a site.
func SampleSyncFor(site string) string {
	return fmt.Sprintf(`apiVersion: tandem.dev/v1alpha1
kind: Sync
metadata:
  name: %s
spec:
  source:
    repository: %s
    ref: refs/heads/main
  path: env/%s
`, SampleSync, Repository, site)
}
