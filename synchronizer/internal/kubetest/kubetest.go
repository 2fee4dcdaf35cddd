// Package kubetest gives tests of adapters the real API server they need.
package kubetest

import (
	"context"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// Kubeconfig is the variable that names the kubeconfig of a cluster which tests
// may fill with objects, with a controller manager. Its user must be an
// administrator. The suite integration/suites/adapters starts one and sets it.
const Kubeconfig = "TANDEM_TEST_KUBECONFIG"

// Config returns how to reach the cluster; without one the test is skipped.
func Config(tb testing.TB) *rest.Config {
	tb.Helper()
	path := os.Getenv(Kubeconfig)
	if path == "" {
		tb.Skip(Kubeconfig + " is not set: no API server to test against; make suites starts one")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		tb.Fatal(err)
	}
	config.QPS = -1 // the server's limit is the one worth meeting
	return config
}

// Client returns a client for anything.
func Client(tb testing.TB, config *rest.Config) dynamic.Interface {
	tb.Helper()
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

// Namespace makes a namespace for one test.
func Namespace(tb testing.TB, client dynamic.Interface) string {
	tb.Helper()
	namespaces := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	made, err := namespaces.Create(tb.Context(), Object(tb, "{apiVersion: v1, kind: Namespace, metadata: {generateName: tandem-test-}}"), metav1.CreateOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx := context.WithoutCancel(tb.Context()) // it ends before the cleanup
		if err := namespaces.Delete(ctx, made.GetName(), metav1.DeleteOptions{}); err != nil {
			tb.Error(err)
		}
	})
	return made.GetName()
}

// Token makes a service account and returns a token of it.
func Token(tb testing.TB, client dynamic.Interface, namespace, account string) string {
	tb.Helper()
	accounts := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}).Namespace(namespace)
	made := Object(tb, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: "+account+"}}")
	if _, err := accounts.Create(tb.Context(), made, metav1.CreateOptions{}); err != nil {
		tb.Fatal(err)
	}
	request := Object(tb, "{apiVersion: authentication.k8s.io/v1, kind: TokenRequest, metadata: {name: "+account+"}, spec: {}}")
	answer, err := accounts.Create(tb.Context(), request, metav1.CreateOptions{}, "token")
	if err != nil {
		tb.Fatal(err)
	}
	token, _, _ := unstructured.NestedString(answer.Object, "status", "token")
	return token
}

// WithToken returns how somebody with a token reaches the cluster.
func WithToken(config *rest.Config, token string) *rest.Config {
	config = rest.AnonymousClientConfig(config)
	config.BearerToken = token
	return config
}

// Object reads an object from YAML.
func Object(tb testing.TB, text string) *unstructured.Unstructured {
	tb.Helper()
	object := &unstructured.Unstructured{}
	json, err := yaml.YAMLToJSON([]byte(strings.ReplaceAll(text, "\t", "  ")))
	if err == nil {
		err = object.UnmarshalJSON(json)
	}
	if err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
	return object
}
