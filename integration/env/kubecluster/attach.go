package kubecluster

import (
	"context"
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Attach wraps a cluster that runs already, by the current context of a
// kubeconfig file. It must answer. Nothing that Attach's cluster does starts,
// stops or restarts a component.
func Attach(ctx context.Context, path string) (*Cluster, error) {
	loaded, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	// Files it names are relative to it; our copy may be read from anywhere.
	if err := clientcmd.ResolveLocalPaths(loaded); err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	content, err := clientcmd.Write(*loaded)
	if err != nil {
		return nil, err
	}
	c := &Cluster{attached: content}
	if err := c.answers(ctx); err != nil {
		return nil, fmt.Errorf("attach to %s: %w", path, err)
	}
	return c, nil
}

func (c *Cluster) answers(ctx context.Context) error {
	config, err := c.RESTConfig(Admin)
	if err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	asking := Cluster{admin: client}
	return asking.ask(ctx, config.Host+"/readyz")
}
