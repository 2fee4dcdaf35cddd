package env

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/tandem-cd/tandem/integration/env/cut"
	"github.com/tandem-cd/tandem/shared/rpc"
)

const (
	systemNamespace     = "tandem-system"
	synchronizerAccount = "tandem-synchronizer"
	// SynchronizerUser is who the synchronizers are to the API server.
	SynchronizerUser = "system:serviceaccount:" + systemNamespace + ":" + synchronizerAccount

	// viewerAccount may look at a site's namespace, and so ask its synchronizer.
	viewerAccount = "viewer"

	// IdentitySecret is where a site that enrolls keeps its identity, in its namespace.
	IdentitySecret = "tandem-identity"

	// tokenLife is how long a world's tokens are good for.
	tokenLife = 24 * time.Hour

	// sitePorts are a synchronizer's status, admin and debug.
	sitePorts = 3
)

// Site is one cluster as the automator knows it: an identity, a synchronizer,
// and a namespace of the ground's control plane.
type Site struct {
	// Name is the cluster's name, Namespace where its Syncs are.
	Name, Namespace string
	Synchronizer    *Agent

	// Relay is between the synchronizer and the automator, and API between it and
	// the API server; nil without Options.Between.
	Relay, API *cut.Proxy

	world             *World
	automator         string // its address, as the synchronizer reaches it
	identity, serving rpc.TLSFiles
	status            string // address

	replicas []*Agent // besides Synchronizer
}

// AddSite prepares another cluster for the automator to serve: its namespace and
// what a user applies there, its identity, and its synchronizer's configuration.
func (w *World) AddSite(ctx context.Context, name string) (*Site, error) {
	s := &Site{Name: name, Namespace: w.opts.Name + "-" + name, world: w}
	if err := os.MkdirAll(w.file(name), folderMode); err != nil {
		return nil, err
	}
	var err error
	if s.identity, err = w.identity(rpc.RoleCluster, name); err != nil {
		return nil, err
	}
	if s.serving, err = w.ca.Server("status-" + name); err != nil {
		return nil, err
	}
	w.Sites[name] = s
	if s.automator, err = w.between(w.addresses.grpc, &s.Relay); err != nil {
		return nil, err
	}
	if err := s.install(ctx); err != nil {
		return nil, err
	}
	if s.Synchronizer, s.status, err = s.prepare(ctx, name); err != nil {
		return nil, err
	}
	return s, w.writeCLIConfig()
}

// viewer may look at a namespace.
const viewer = `apiVersion: v1
kind: ServiceAccount
metadata: {name: viewer}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: viewer, namespace: NAMESPACE}]
`

// everywhere lets a synchronizer see every object of the cluster.
const everywhere = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: tandem-synchronizer-everywhere}
rules:
  - {apiGroups: ["*"], resources: ["*"], verbs: [get, list, watch]}
  - {apiGroups: [tandem.dev], resources: [syncs, syncs/status], verbs: [patch]}
  - {apiGroups: [""], resources: [configmaps], verbs: [create, patch, delete]}
  - {apiGroups: [""], resources: [events], verbs: [create, patch]}
  - {apiGroups: [""], resources: [serviceaccounts], verbs: [impersonate]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: tandem-synchronizer-everywhere}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tandem-synchronizer-everywhere}
subjects: [{kind: ServiceAccount, name: tandem-synchronizer, namespace: tandem-system}]
`

// wide lets a synchronizer see what stories have outside of its namespace: namespaces, definitions, kinds that those
// define, and ConfigMaps.
const wide = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: tandem-synchronizer-wide}
rules:
  - {apiGroups: [""], resources: [namespaces, configmaps, services, pods], verbs: [get, list, watch]}
  - {apiGroups: [apps], resources: [deployments], verbs: [get, list, watch]}
  - {apiGroups: [tandem.dev], resources: [syncs], verbs: [get, list, watch]}
  - {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: [get, list, watch]}
  - {apiGroups: [stories.example.com], resources: ["*"], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: tandem-synchronizer-wide}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tandem-synchronizer-wide}
subjects: [{kind: ServiceAccount, name: tandem-synchronizer, namespace: tandem-system}]
`

// writer lets the Syncs of a namespace write everything.
const writer = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAMESPACE-everywhere}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: tandem, namespace: NAMESPACE}]
`

// keeper may keep the synchronizer's identity in a Secret of the namespace.
const keeper = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tandem-identity}
rules:
  - {apiGroups: [""], resources: [secrets], verbs: [create]}
  - {apiGroups: [""], resources: [secrets], resourceNames: [` + IdentitySecret + `], verbs: [get, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tandem-identity}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tandem-identity}
subjects: [{kind: ServiceAccount, name: ` + synchronizerAccount + `, namespace: ` + systemNamespace + `}]
`

// leaser may hold the Leases of the synchronizers that work.
func leaser() string {
	return `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tandem-lease}
rules:
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}
  - {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [` + strings.Join(LeaseNames(), ", ") + `], verbs: [get, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tandem-lease}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tandem-lease}
subjects: [{kind: ServiceAccount, name: ` + synchronizerAccount + `, namespace: ` + systemNamespace + `}]
`
}

// install applies what a user applies once per namespace, and writes the files
// with which the synchronizer and a viewer connect.
func (s *Site) install(ctx context.Context) error {
	manifest, err := os.ReadFile(filepath.Join(s.world.source, "deploy", "rbac", "namespace.yaml"))
	if err != nil {
		return err
	}
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAMESPACE}\n---\n"
	texts := []string{namespace, string(manifest), viewer, keeper, leaser()}
	if s.world.opts.Everywhere {
		texts = append(texts, everywhere, writer)
	}
	if s.world.opts.Wide {
		texts = append(texts, wide, writer)
	}
	for _, text := range texts {
		if err := s.Apply(ctx, strings.ReplaceAll(text, "NAMESPACE", s.Namespace)); err != nil {
			return err
		}
	}
	token, err := s.token(ctx, s.Namespace, viewerAccount)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.world.file(s.Name, "token"), []byte(token), privateMode); err != nil {
		return err
	}
	return nil
}

// Apply does what kubectl apply --server-side does with a manifest, in the
// site's namespace.
func (s *Site) Apply(ctx context.Context, manifest string) error {
	return s.world.Apply(ctx, s.Namespace, manifest)
}

// writeKubeconfig connects a synchronizer as its service account, by a token of its own.
func (s *Site) writeKubeconfig(ctx context.Context, path string) error {
	token, err := s.token(ctx, systemNamespace, synchronizerAccount)
	if err != nil {
		return err
	}
	const entry = "tandem"
	server, err := s.server()
	if err != nil {
		return err
	}
	config := api.NewConfig()
	config.Clusters[entry] = server
	config.AuthInfos[entry] = &api.AuthInfo{Token: token}
	config.Contexts[entry] = &api.Context{Cluster: entry, AuthInfo: entry}
	config.CurrentContext = entry
	return clientcmd.WriteToFile(*config, path)
}

// server is the API server as the synchronizer reaches it.
func (s *Site) server() (*api.Cluster, error) {
	direct := s.world.Ground.config
	host, err := s.world.betweenURL(direct.Host, &s.API)
	return &api.Cluster{
		Server: host, TLSServerName: direct.ServerName, InsecureSkipTLSVerify: direct.Insecure,
		CertificateAuthority: direct.CAFile, CertificateAuthorityData: direct.CAData,
	}, err
}

func (s *Site) token(ctx context.Context, namespace, account string) (string, error) {
	seconds := int64(tokenLife / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	answer, err := s.world.Client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of %s/%s: %w", namespace, account, err)
	}
	return answer.Status.Token, nil
}

// close ends the synchronizer. A namespace in somebody else's cluster goes too.
func (s *Site) close() error {
	if s.Synchronizer != nil {
		s.Synchronizer.Kill()
	}
	for _, replica := range s.replicas {
		replica.Kill()
	}
	if !s.world.Attached() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanTimeout)
	defer cancel()
	return errors.Join(ignoreNotFound(s.world.Client.CoreV1().Namespaces().Delete(ctx, s.Namespace, metav1.DeleteOptions{})))
}
