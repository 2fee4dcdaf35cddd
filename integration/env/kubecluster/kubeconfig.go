package kubecluster

import (
	"fmt"
	"net"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// entry names the only cluster, user and context of our kubeconfigs.
const entry = "tandem"

// URL is the API server's address.
func (c *Cluster) URL() string {
	if c.attached != nil {
		config, err := c.RESTConfig(Admin)
		if err != nil {
			return ""
		}
		return config.Host
	}
	return "https://" + net.JoinHostPort(loopback, c.apiserverPort)
}

// Kubeconfig returns a kubeconfig for a user, made up on the spot: the cluster
// learns of a user and its groups from the certificate inside. Admin may do
// everything; anybody else may do what RBAC objects grant.
//
// On an attached cluster Admin is the user of the given kubeconfig, and others
// are impersonated by it, so they cannot impersonate in turn.
func (c *Cluster) Kubeconfig(user string, groups ...string) ([]byte, error) {
	if c.attached != nil {
		return impersonating(c.attached, user, groups)
	}
	if user == Admin {
		groups = append([]string{adminGroup}, groups...)
	}
	issued, err := c.authority.user(user, groups)
	if err != nil {
		return nil, fmt.Errorf("certificate of %q: %w", user, err)
	}
	config := api.NewConfig()
	config.Clusters[entry] = &api.Cluster{Server: c.URL(), CertificateAuthorityData: c.authority.pair.cert}
	config.AuthInfos[entry] = &api.AuthInfo{ClientCertificateData: issued.cert, ClientKeyData: issued.key}
	config.Contexts[entry] = &api.Context{Cluster: entry, AuthInfo: entry}
	config.CurrentContext = entry
	return clientcmd.Write(*config)
}

// WriteKubeconfig writes a user's kubeconfig to a file.
func (c *Cluster) WriteKubeconfig(path, user string, groups ...string) error {
	content, err := c.Kubeconfig(user, groups...)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, privateMode)
}

// RESTConfig is the user's configuration for client-go, without a client-side
// limit: the server's own is the one worth meeting.
func (c *Cluster) RESTConfig(user string, groups ...string) (*rest.Config, error) {
	content, err := c.Kubeconfig(user, groups...)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(content)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}

func impersonating(kubeconfig []byte, user string, groups []string) ([]byte, error) {
	if user == Admin {
		return kubeconfig, nil
	}
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, err
	}
	for _, auth := range config.AuthInfos {
		auth.Impersonate, auth.ImpersonateGroups = user, groups
	}
	return clientcmd.Write(*config)
}
