package charts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/registry"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// TestCharts goes through the life of an installation, in order.
func TestCharts(t *testing.T) {
	i := prepare(t)
	identity, err := i.Issue(rpc.RoleCluster, cluster)
	if err != nil {
		t.Fatal(err)
	}
	i.secret(t, "tandem-tls", map[string]string{"tls.crt": identity.Cert, "tls.key": identity.Key, "ca.crt": identity.CA})
	i.secret(t, "tandem-signing", map[string]string{"ssh-privatekey": filepath.Join(i.Dir(), "keys", "robot")})
	values := i.values(t, "agent", i.agentValues())

	steps := []struct {
		name string
		run  func(t *testing.T)
	}{
		{"Automator", func(t *testing.T) {
			i.install(t, automator, chart("automator"), i.values(t, "automator", i.automatorValues()))
		}},
		{"PodSecurity", i.podSecurity},
		{"Previous", func(t *testing.T) { i.install(t, agent, previous(t), values) }},
		{"Upgrade", func(t *testing.T) { i.upgrade(t, values) }},
		{"Rights", i.rights},
		{"Converge", func(t *testing.T) { i.converge(t, identity) }},
		{"Uninstall", i.uninstall},
		{"Again", func(t *testing.T) { i.install(t, agent, chart("synchronizer"), values) }},
	}
	for _, step := range steps {
		if !t.Run(step.name, step.run) {
			return // each stands on the one before
		}
	}
}

func (i *installation) agentValues() map[string]any {
	return map[string]any{
		"cluster":    cluster,
		"automator":  map[string]any{"address": i.Relay(), "tls": map[string]any{"secretName": "tandem-tls"}},
		"namespaces": []string{listed},
		"trust":      i.Trust(),
		"image":      map[string]any{"registry": i.Registry.Host()},
		"syncs": []any{map[string]any{
			"name": env.SampleSync, "namespace": listed,
			"spec": map[string]any{"source": map[string]any{"repository": env.Repository}, "path": "env/" + cluster},
		}},
	}
}

func (i *installation) automatorValues() map[string]any {
	return map[string]any{
		"tls":          map[string]any{"secretName": "tandem-tls"},
		"signing":      map[string]any{"email": "tandem@example.com", "secretName": "tandem-signing"},
		"repositories": []any{map[string]any{"name": env.Repository, "url": i.Git.URL(env.Repository)}},
		"webhook":      map[string]any{"enabled": false},
		"image":        map[string]any{"registry": i.Registry.Host()},
		"state":        map[string]any{"persistent": false}, // this control plane has nobody who makes volumes
	}
}

// podSecurity proves that the namespace refuses what "restricted" refuses, so that the charts' Pods, which are there,
// keep to it.
func (i *installation) podSecurity(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "root"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "root", Image: "root"}}},
	}
	if _, err := i.Client.CoreV1().Pods(system).Create(t.Context(), pod, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a Pod that may run as root: %v, want it refused", err)
	}
	pods, err := i.Client.CoreV1().Pods(system).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=tandem"})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) == 0 {
		t.Error("the automator's Pod is not there")
	}
}

// previous is the chart as it was before the kind Sync had its last field and column.
func previous(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "synchronizer")
	if err := os.CopyFS(dir, os.DirFS(chart("synchronizer"))); err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(dir, "Chart.yaml"), "version: 0.1.0", "version: 0.0.9")
	edit(t, filepath.Join(dir, "files", "syncs.tandem.dev.yaml"), "        - name: Objects\n          type: integer\n          jsonPath: .status.objects.total\n", "")
	edit(t, filepath.Join(dir, "values.yaml"), "workers: 8", "workers: 4")
	return dir
}

func edit(t *testing.T, path, old, by string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), old) {
		t.Fatalf("%s: no %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(content), old, by, 1)), fileMode); err != nil {
		t.Fatal(err)
	}
}

// upgrade goes to the chart of today: the kind gets its column, the configuration its new value and the Sync stays the
// same object.
func (i *installation) upgrade(t *testing.T, values string) {
	if column(i.get(t, kinds, "", "syncs.tandem.dev"), "Objects") {
		t.Fatal("the chart before has today's kind already")
	}
	before := i.get(t, syncs, listed, env.SampleSync).GetUID()
	i.install(t, agent, chart("synchronizer"), values)
	if !column(i.get(t, kinds, "", "syncs.tandem.dev"), "Objects") {
		t.Error("the upgrade left the kind Sync as it was")
	}
	if after := i.get(t, syncs, listed, env.SampleSync).GetUID(); after != before {
		t.Error("the upgrade made the Sync anew, and with it forgot what was verified")
	}
	if workers, _ := i.configuration(t)["workers"].(float64); workers != 8 {
		t.Errorf("workers is %v after the upgrade, want 8", workers)
	}
}

// column tells whether the kind has a column.
func column(kind *unstructured.Unstructured, name string) bool {
	versions, _, _ := unstructured.NestedSlice(kind.Object, "spec", "versions")
	version, _ := versions[0].(map[string]any)
	columns, _ := version["additionalPrinterColumns"].([]any)
	for _, column := range columns {
		if fields, _ := column.(map[string]any); fields["name"] == name {
			return true
		}
	}
	return false
}

// rights tries what the account must not be able to do.
func (i *installation) rights(t *testing.T) {
	config := i.account(t)
	own := clientOf(t, config, "")
	cases := map[string]struct {
		reason string
		try    func() error
	}{
		"Elsewhere": {reason: "The namespace is not listed.", try: func() error {
			_, err := own.CoreV1().ConfigMaps(unlisted).List(t.Context(), metav1.ListOptions{})
			return err
		}},
		"Everywhere": {reason: "Rights are per namespace.", try: func() error {
			_, err := own.AppsV1().Deployments("").List(t.Context(), metav1.ListOptions{})
			return err
		}},
		"Secrets": {reason: "They are not among the kinds.", try: func() error {
			_, err := own.CoreV1().Secrets(listed).List(t.Context(), metav1.ListOptions{})
			return err
		}},
		"OwnSecrets": {reason: "Its certificate is mounted, so it reads none.", try: func() error {
			_, err := own.CoreV1().Secrets(system).Get(t.Context(), "tandem-signing", metav1.GetOptions{})
			return err
		}},
		"WriteAsItself": {reason: "Objects are written as the Sync's account.", try: func() error {
			return own.CoreV1().Services(listed).Delete(t.Context(), "web", metav1.DeleteOptions{})
		}},
		"OtherAccount": {reason: "Only the accounts of values are lent.", try: func() error {
			_, err := clientOf(t, config, "system:serviceaccount:"+listed+":default").CoreV1().ConfigMaps(listed).List(t.Context(), metav1.ListOptions{})
			return err
		}},
		"AccountElsewhere": {reason: "Only where Syncs are.", try: func() error {
			_, err := clientOf(t, config, "system:serviceaccount:"+unlisted+":tandem").CoreV1().ConfigMaps(unlisted).List(t.Context(), metav1.ListOptions{})
			return err
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := tc.try(); !apierrors.IsForbidden(err) {
				t.Errorf("%s: %v, want it forbidden", tc.reason, err)
			}
		})
	}
}

func clientOf(t *testing.T, config *rest.Config, as string) kubernetes.Interface {
	t.Helper()
	config = rest.CopyConfig(config)
	config.Impersonate.UserName = as
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// converge runs the agents: what a person commits arrives in the listed namespace, and a Sync elsewhere is not looked at.
func (i *installation) converge(t *testing.T, identity rpc.TLSFiles) {
	image, err := i.Registry.Push(t.Context(), "acme/shop", "1.0.0", registry.Image{})
	if err != nil {
		t.Fatal(err)
	}
	files, err := i.Sample(cluster, image.Reference())
	if err != nil {
		t.Fatal(err)
	}
	unseen := i.get(t, syncs, listed, env.SampleSync)
	unseen.Object = map[string]any{
		"apiVersion": unseen.GetAPIVersion(), "kind": unseen.GetKind(), "spec": unseen.Object["spec"],
		"metadata": map[string]any{"name": unseen.GetName()},
	}
	if _, err := i.Dynamic.Resource(syncs).Namespace(unlisted).Create(t.Context(), unseen, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := i.Automator.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	i.startAgent(t, identity)
	i.commit(t, files)
	i.waitObject(t, syncs, listed, env.SampleSync, state("Healthy"))
	files["env/"+cluster+"/more.yaml"] = manifest("more", "hello")
	i.commit(t, files)
	i.waitObject(t, configs, listed, "more", func(*unstructured.Unstructured) bool { return true })
	if got := i.get(t, syncs, unlisted, env.SampleSync); got.Object["status"] != nil {
		t.Errorf("a Sync in a namespace that is not listed has a status: %v", got.Object["status"])
	}
}

// uninstall leaves what runs, the Syncs and their kind, and nothing of the agent.
func (i *installation) uninstall(t *testing.T) {
	if err := i.helm.Uninstall(t.Context(), agent, system); err != nil {
		t.Fatal(err)
	}
	for what, left := range map[string]bool{
		"the application's Deployment": i.exists(t, deployments, listed, "web"),
		"the application's ConfigMap":  i.exists(t, configs, listed, "more"),
		"the Sync":                     i.exists(t, syncs, listed, env.SampleSync),
		"the kind Sync":                i.exists(t, kinds, "", "syncs.tandem.dev"),
	} {
		if !left {
			t.Errorf("uninstalling took %s", what)
		}
	}
	for what, left := range map[string]bool{
		"Deployment":    i.exists(t, deployments, system, agent),
		"configuration": i.exists(t, configs, system, agent),
		"Role":          i.exists(t, roles, listed, agent),
	} {
		if left {
			t.Errorf("uninstalling left the agent's %s", what)
		}
	}
}

func (i *installation) get(t *testing.T, resource schema.GroupVersionResource, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	object, err := i.Dynamic.Resource(resource).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return object
}
