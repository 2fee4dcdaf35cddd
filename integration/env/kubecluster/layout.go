package kubecluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// auditPolicy records each request once, when it has been answered.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
`

// portCount is how many loopback ports a cluster takes.
const portCount = 3

// layout is where a cluster keeps its files and listens.
type layout struct {
	dir, logDir string

	etcdPort, apiserverPort, controllersPort string
}

func newLayout(dir, logDir string, ports []string) layout {
	if logDir == "" {
		logDir = filepath.Join(dir, "logs")
	}
	return layout{dir: dir, logDir: logDir, etcdPort: ports[0], apiserverPort: ports[1], controllersPort: ports[2]}
}

func (l layout) path(name string) string { return filepath.Join(l.dir, name) }

// write fills an empty folder with the keys and files the components read.
func (c *Cluster) write() error {
	if entries, err := os.ReadDir(c.dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("folder %s is not empty", c.dir)
	}
	ca := c.authority.pair
	serving, servingErr := c.authority.serving()
	_, accounts, accountsErr := newKey() // signs service account tokens
	controllers, controllersErr := c.Kubeconfig(controllersUser)
	if err := errors.Join(servingErr, accountsErr, controllersErr); err != nil {
		return err
	}
	for _, dir := range []string{c.dir, c.logDir} {
		if err := os.MkdirAll(dir, folderMode); err != nil {
			return err
		}
	}
	for name, content := range map[string][]byte{
		"ca.crt":                 ca.cert,
		"ca.key":                 ca.key,
		"serving.crt":            serving.cert,
		"serving.key":            serving.key,
		"accounts.key":           accounts,
		"audit-policy.yaml":      []byte(auditPolicy),
		"controllers.kubeconfig": controllers,
	} {
		if err := os.WriteFile(c.path(name), content, privateMode); err != nil {
			return err
		}
	}
	return nil
}
