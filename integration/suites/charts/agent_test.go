package charts

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/integration/env/process"
	"github.com/tandem-cd/tandem/shared/rpc"
)

const (
	// tokenLife is how long the account's token is good for; kubelets ask for as much.
	tokenLife = time.Hour
	// stopWithin bounds how long the agent may take to end.
	stopWithin = 30 * time.Second
)

// account is how the API server knows the account that the chart made, and nothing else: what a Pod would have.
func (i *installation) account(t *testing.T) *rest.Config {
	t.Helper()
	seconds := int64(tokenLife / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	answer, err := i.Client.CoreV1().ServiceAccounts(system).CreateToken(t.Context(), agent, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := i.Kube.RESTConfig("nobody")
	if err != nil {
		t.Fatal(err)
	}
	config = rest.AnonymousClientConfig(config)
	config.BearerToken = answer.Status.Token
	return config
}

// startAgent runs the synchronizer as the Pod would: with the account's token and the installed configuration, in which
// only what a Pod mounts is put elsewhere.
func (i *installation) startAgent(t *testing.T, identity rpc.TLSFiles) {
	t.Helper()
	ports, err := process.FreePorts(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	admin := loopback(ports[0])
	config := i.configuration(t)
	config["admin"] = admin
	config["stateDir"] = filepath.Join(i.dir, "state")
	config["kubeconfig"] = i.kubeconfig(t)
	automator, _ := config["automator"].(map[string]any)
	automator["tls"] = map[string]any{"cert": identity.Cert, "key": identity.Key, "ca": identity.CA}
	path := i.values(t, "synchronizer", config)
	agent, err := process.Start(process.Config{
		Name: "synchronizer", Log: filepath.Join(i.dir, "synchronizer.log"), Command: []string{i.Program("tandem-synchronizer"), "--config", path},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), stopWithin)
		defer cancel()
		ends(t, agent.Stop(ctx))
	})
	if err := agent.Ready(t.Context(), func(ctx context.Context) error { return ready(ctx, admin) }); err != nil {
		t.Fatal(err)
	}
}

// ready asks what the Pod's readiness probe asks.
func ready(ctx context.Context, admin string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /readyz: %s", response.Status)
	}
	return nil
}

// configuration is the installed configuration.
func (i *installation) configuration(t *testing.T) map[string]any {
	t.Helper()
	object, err := i.Dynamic.Resource(configs).Namespace(system).Get(t.Context(), agent, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := unstructured.NestedString(object.Object, "data", "synchronizer.yaml")
	var config map[string]any
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	return config
}

func (i *installation) kubeconfig(t *testing.T) string {
	t.Helper()
	account := i.account(t)
	const entry = "pod"
	config := api.NewConfig()
	config.Clusters[entry] = &api.Cluster{Server: account.Host, CertificateAuthorityData: account.CAData}
	config.AuthInfos[entry] = &api.AuthInfo{Token: account.BearerToken}
	config.Contexts[entry] = &api.Context{Cluster: entry, AuthInfo: entry}
	config.CurrentContext = entry
	path := filepath.Join(i.dir, "agent.kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, fileMode); err != nil {
		t.Fatal(err)
	}
	return path
}
