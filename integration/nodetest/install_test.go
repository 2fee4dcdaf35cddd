//go:build linux

package nodetest

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/process"
	"github.com/tandem-cd/tandem/integration/env/registry"
)

const (
	system   = "tandem-system"
	app      = "shop"
	image    = "acme/shop"
	replicas = 2
	// patience bounds each wait for the product, on a machine that does other
	// things, too.
	patience = 3 * time.Minute
)

// deployment is the application, as it stands in Git at first.
const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: ghcr.io/acme/shop:1.0.0
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
`

// TestInstall goes through the guide from the top to its end.
func TestInstall(t *testing.T) {
	w := newWorld(t)
	first := w.push(t, hello("1.0.0"))
	w.makeImages(t)
	w.makeKeys(t)
	w.installAutomator(t)
	w.seed(t)
	w.installSynchronizer(t)
	w.checkAnswers(t, "1.0.0")
	w.forgetToken(t)
	w.pipeline(t)
	w.checkManifest(t, "1.0.0", first)
	w.release(t)
	w.uninstall(t)
}

// makeImages is step 1; the cluster is there.
func (w *world) makeImages(t *testing.T) {
	t.Helper()
	w.shell.run(t, w.block(t, "1. A cluster and the images", 0,
		`make images ARGS="--push ghcr.io/acme"`, fmt.Sprintf(`make -C "$SOURCE" images ARGS="--platform %s --push %s/acme tandem-automator tandem-synchronizer"`, hostPlatform, w.registry.Host()),
		"git describe", `git -C "$SOURCE" describe`,
		"ghcr.io", w.images,
	))
}

// hello is a version of the application.
func hello(version string) program {
	return program{path: "hello", repository: image, tag: version, env: []string{"VERSION=" + version}}
}

// makeKeys is step 2, and the Git host, which knows the key afterwards.
func (w *world) makeKeys(t *testing.T) {
	t.Helper()
	w.shell.run(t, "mkdir ~/.ssh && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519\ngit config --global user.name Ann && git config --global user.email ann@example.com")
	w.shell.run(t, w.block(t, "2. Keys", 0))
	w.shell.run(t, w.block(t, "2. Keys", 1))
	line, err := os.ReadFile(w.work("deploy.pub"))
	if err != nil {
		t.Fatal(err)
	}
	deploy, _, _, _, err := ssh.ParseAuthorizedKey(line) //nolint:dogsled // comments and options are of no use here
	if err != nil {
		t.Fatal(err)
	}
	w.must(t, "start Git server", func() (err error) {
		w.git, err = gitserver.Start(gitserver.Options{AuthorizedKeys: []ssh.PublicKey{deploy}})
		return err
	})
	stopped(t, "Git server", w.git.Stop)
	w.must(t, "make repository", func() error { return w.git.Create(t.Context(), repository) })
	w.shell.run(t, fmt.Sprintf(`echo '%s' >known_host
export GIT_SSH_COMMAND="ssh -i $PWD/deploy -o IdentitiesOnly=yes -o UserKnownHostsFile=$PWD/known_host"
git clone --quiet %s repository
echo 'What runs where.' >repository/README.md`, w.git.KnownHosts(), w.git.SSHURL(repository)))
	w.commit(t, "Begin")
}

// commit pushes what is in the clone, as a person with git, signed.
func (w *world) commit(t *testing.T, message string) {
	t.Helper()
	w.shell.run(t, "(cd repository && git add . && git commit --quiet -m '"+message+"' && git push --quiet origin HEAD:main)")
}

// repository is the path of the Git repository on its host.
const repository = "acme/deploy"

// work is a path in the folder that the shell is in.
func (w *world) work(parts ...string) string {
	return filepath.Join(append([]string{w.dir, "work"}, parts...)...)
}

// installAutomator is step 3.
func (w *world) installAutomator(t *testing.T) {
	t.Helper()
	remote, err := url.Parse(w.git.SSHURL(repository))
	if err != nil {
		t.Fatal(err)
	}
	exposed, err := w.node.Expose(t.Context(), remote.Host)
	if err != nil {
		t.Fatal(err)
	}
	// Hosts with ports are in brackets in known_hosts.
	known := strings.ReplaceAll(w.git.KnownHosts(), remote.Hostname(), strings.Split(exposed, ":")[0])
	w.shell.run(t, w.block(t, "3. The automator", 0,
		"ssh-keyscan github.com >known_hosts", "echo '"+known+"' >known_hosts",
		"git@github.com/", "git@"+exposed+"/",
		"webhook: {tokenSecret: tandem-webhook}", fmt.Sprintf("webhook: {tokenSecret: tandem-webhook, hosts: {%q: %q}}", w.registry.Host(), w.images),
		"image: {repository: acme/tandem-automator}", fmt.Sprintf("image: {repository: acme/tandem-automator}\nregistries: {hosts: {%q: {insecure: true}}}", w.images),
		"deploy/charts", `"$SOURCE"/deploy/charts`,
	))
	ports, err := process.FreePorts(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	w.automator = net.JoinHostPort("localhost", ports[0])
	said := w.shell.run(t, w.block(t, "3. The automator", 1,
		"port-forward service/tandem-automator 9443 &", fmt.Sprintf("port-forward service/tandem-automator %s:9443 >forward.log &\n%s", ports[0], connects(ports[0])),
		"localhost:9443", w.automator,
	))
	t.Logf("tandem status:\n%s", said)
	w.notify(t)
}

// connects is a command that waits until the last job takes connections.
func connects(port string) string {
	return "until (exec 3<>/dev/tcp/localhost/" + port + ") 2>/dev/null; do kill -0 $!; sleep 0.1; done"
}

// notify has the registry tell the automator, through its Service.
func (w *world) notify(t *testing.T) {
	t.Helper()
	service, err := w.client.CoreV1().Services(system).Get(t.Context(), "tandem-automator-webhook", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	published, err := w.node.Publish(t.Context(), net.JoinHostPort(service.Spec.ClusterIP, "80"))
	if err != nil {
		t.Fatal(err)
	}
	encoded := w.shell.run(t, "kubectl -n "+system+" get secret tandem-webhook -o jsonpath={.data.token}; echo")
	token, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	w.registry.Notify(registry.Webhook{
		URL: "http://" + published + "/hooks/registry", Header: http.Header{"Authorization": {"Bearer " + string(token)}},
	})
}

// seed is step 4.
func (w *world) seed(t *testing.T) {
	t.Helper()
	w.write(t, ".tandem/clusters.yaml", w.block(t, "4. What the repository says", 0))
	w.write(t, "env/dev/deployment.yaml", strings.ReplaceAll(deployment, "ghcr.io", w.images))
	w.commit(t, "Shop, as it runs today")
}

// write writes a file of the clone.
func (w *world) write(t *testing.T, name, content string) {
	t.Helper()
	path := w.work("repository", filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// installSynchronizer is step 5.
func (w *world) installSynchronizer(t *testing.T) {
	t.Helper()
	said := w.shell.run(t, w.block(t, "5. The synchronizer", 0,
		"ghcr.io/acme/*", w.images+"/acme/*",
		"deploy/charts", `"$SOURCE"/deploy/charts`,
	))
	t.Logf("after the installation:\n%s", said)
	w.shell.run(t, w.healthy())
}

// healthy waits for the Sync.
func (w *world) healthy() string {
	return fmt.Sprintf("kubectl -n %s wait sync/shop --for=jsonpath={.status.state}=Healthy --timeout=%s", app, patience)
}

// pipeline is the first half of step 6.
func (w *world) pipeline(t *testing.T) {
	t.Helper()
	w.write(t, ".tandem/shop.yaml", w.block(t, release, 0, "ghcr.io", w.images))
	w.commit(t, "The newest 1.x")
}

// release is the heading of step 6.
const release = "6. A pipeline, and a release"

// forgetToken deletes the token, as the guide says, and starts the synchronizer
// anew: it has its identity, and needs no token.
func (w *world) forgetToken(t *testing.T) {
	t.Helper()
	w.shell.run(t, w.sentence(t, "kubectl -n tandem-system delete secret tandem-join"))
	w.shell.run(t, fmt.Sprintf(`kubectl -n %s rollout restart deployment/tandem-synchronizer
kubectl -n %[1]s rollout status deployment/tandem-synchronizer --timeout=%s`, system, patience))
}

// sentence is a command that stands in the text of the guide.
func (w *world) sentence(t *testing.T, command string) string {
	t.Helper()
	if !strings.Contains(w.page, "`"+command+"`") {
		t.Fatalf("docs/install.md does not say `%s`", command)
	}
	return command
}

// uninstall is the last section: applications go on running.
func (w *world) uninstall(t *testing.T) {
	t.Helper()
	w.shell.run(t, w.block(t, "Away again", 0))
	w.checkAnswers(t, "1.0.1")
	w.shell.run(t, w.sentence(t, "kubectl delete syncs --all -A"))
	w.shell.run(t, w.sentence(t, "kubectl delete crd syncs.tandem.dev"))
	w.shell.run(t, "kubectl delete namespace "+system)
	w.checkAnswers(t, "1.0.1")
}
