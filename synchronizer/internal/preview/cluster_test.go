package preview_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/apply"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
	"github.com/tandem-cd/tandem/synchronizer/internal/live"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/preview"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"),
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"), // idle connections outlive the test that made them
	)
}

const (
	password = "correct horse battery staple"
	another  = "Tr0ub4dor&3"
)

func desired(t *testing.T, namespace, text string) render.Desired {
	t.Helper()
	obj := kubetest.Object(t, text)
	kind := obj.GroupVersionKind()
	d := render.Desired{
		Key: object.Key{Group: kind.Group, Kind: kind.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}, GVK: kind, Object: obj,
		Origin: object.Origin{File: "all.yaml", Line: 1},
	}
	switch d.Key.Namespace {
	case "":
		d.Key.Namespace = namespace
	case "-":
		d.Key.Namespace = ""
	}
	return d
}

// TestOnACluster looks at objects of every sort as an account that may not write all of them.
func TestOnACluster(t *testing.T) {
	t.Parallel()
	config := kubetest.Config(t)
	client := kubetest.Client(t, config)
	namespace := kubetest.Namespace(t, client)
	rbac := schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
	secrets := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(namespace)
	for _, text := range []string{
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: a}, rules: [{apiGroups: [""], resources: [configmaps, secrets], verbs: [create, get, patch]}]}`,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: a}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: a},
			subjects: [{kind: ServiceAccount, name: tandem, namespace: ` + namespace + `}]}`,
	} {
		obj := kubetest.Object(t, text)
		at := client.Resource(rbac.WithResource(strings.ToLower(obj.GetKind()) + "s")).Namespace(namespace)
		if _, err := at.Create(t.Context(), obj, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(password))
	old := kubetest.Object(t, fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {name: old, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"password":"%s"}}'}},
		data: {password: "%s"}}`, encoded, encoded))
	if _, err := secrets.Create(t.Context(), old, metav1.CreateOptions{FieldManager: "kubectl-client-side-apply"}); err != nil {
		t.Fatal(err)
	}
	discoverer, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	mapper := live.NewMapper(discoverer)
	applier, err := apply.New(apply.Config{}, config, apply.Deps{Kinds: mapper})
	if err != nil {
		t.Fatal(err)
	}
	previewer := preview.New(preview.Deps{
		Live: live.New(live.Config{Namespaces: []string{namespace}}, client, mapper), Applier: applier, Exists: func(string) bool { return true },
		Load: func(context.Context, []*render.Desired) error { return nil },
	})
	s := &v1alpha1.Sync{}
	s.Namespace, s.Name = namespace, "web"
	crd := desired(t, namespace, `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.example.dev, namespace: "-"}}`)
	crd.Defines = &render.Definition{GroupKind: schema.GroupKind{Group: "example.dev", Kind: "Thing"}, Namespaced: true}
	crd.Policy.Apply = v1alpha1.ApplySkip // what it would be itself is told elsewhere
	objects := []render.Desired{
		desired(t, namespace, `{apiVersion: v1, kind: ConfigMap, metadata: {name: new}, data: {a: "1"}}`),
		desired(t, namespace, `{apiVersion: v1, kind: Secret, metadata: {name: old}, stringData: {password: "`+another+`"}}`),
		desired(t, namespace, `{apiVersion: v1, kind: Secret, metadata: {name: bad}, data: {password: "`+another+`"}}`),
		desired(t, namespace, `{apiVersion: v1, kind: Secret, metadata: {name: made}, stringData: {password: "`+another+`"}}`),
		desired(t, namespace, `{apiVersion: v1, kind: Service, metadata: {name: denied}, spec: {ports: [{port: 80}]}}`),
		desired(t, namespace, `{apiVersion: example.dev/v1, kind: Thing, metadata: {name: custom}}`), crd,
	}
	got := map[string]preview.Change{}
	_, err = previewer.Run(t.Context(), preview.Request{Sync: s, Rendered: &render.Result{Objects: objects}}, func(c preview.Change) error {
		got[c.Key.Name] = c
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		action preview.Action
		says   string
	}{
		"new": {preview.Create, "not there"}, "old": {preview.Adopt, "written by kubectl-client-side-apply"}, "bad": {preview.Refused, "not Base64"},
		"made": {preview.Create, "not there"}, "custom": {preview.Create, "its kind comes with the same commit"}, "things.example.dev": {preview.Skip, "left alone"},
		"denied": {preview.Refused, `{apiGroups: [""], resources: ["services"], verbs: ["create", "get", "patch"]}`},
	} {
		if c := got[name]; c.Action != want.action || !strings.Contains(c.Reason, want.says) {
			t.Errorf("%s: %s (%s), want %s with %q", name, c.Action, c.Reason, want.action, want.says)
		}
	}
	if old := got["old"]; len(old.Fields) == 0 || !strings.Contains(old.Diff, "(secret, another value)") {
		t.Errorf("the Secret that differs: %+v", old)
	}
	all := fmt.Sprintf("%+v", got)
	for _, secret := range []string{password, encoded, another, base64.StdEncoding.EncodeToString([]byte(another))} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is shown in %s", secret, all)
		}
	}
	list, err := secrets.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%d Secrets, %v: something was written", len(list.Items), err)
	}
}
