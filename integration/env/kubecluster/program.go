package kubecluster

import (
	"context"
	"os"
	"path/filepath"
)

const (
	etcdName        = "etcd"
	apiserverName   = "kube-apiserver"
	controllersName = "kube-controller-manager"

	assetsVariable = "KUBEBUILDER_ASSETS"
)

// programs is the start of each component's command line.
type programs map[string][]string

// findPrograms takes prebuilt components where there are any, and builds only
// when one is missing.
func findPrograms(ctx context.Context, opts Options) (programs, error) {
	names := []string{etcdName, apiserverName}
	if opts.Controllers {
		names = append(names, controllersName)
	}
	found := make(programs, len(names))
	for _, name := range names {
		if path := filepath.Join(os.Getenv(assetsVariable), name); filepath.IsAbs(path) && built(path) {
			found[name] = []string{path}
			continue
		}
		program, err := opts.Builder.Program(ctx)
		if err != nil {
			return nil, err
		}
		found[name] = []string{program, name}
	}
	return found, nil
}
