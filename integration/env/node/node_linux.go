package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tandem-cd/tandem/integration/env/kubecluster"
	"github.com/tandem-cd/tandem/integration/env/process"
	"github.com/tandem-cd/tandem/integration/env/source"
)

const (
	// Name is the node's in the cluster.
	Name = "tandem-node"

	// endTimeout bounds how long what was killed may take to be gone.
	endTimeout = 30 * time.Second
)

var errNotReady = errors.New("node is not ready")

// Config says what the node joins.
type Config struct {
	// Cluster was started with APIServerArgs, and with its controllers.
	Cluster *kubecluster.Cluster
	// Sandbox is the image that holds a Pod's namespaces open. It is pulled like
	// any other.
	Sandbox string
	// Registries are spoken to in the clear.
	Registries []string
	// Builder finds or builds what is Kubernetes' own; its zero value is right in
	// the source tree.
	Builder kubecluster.Builder
}

// Node is a node, from its namespaces on. Its methods are one caller's, but for
// Dial.
type Node struct {
	*home

	namespaces *namespaces
	relays     *relays
}

// New makes the namespaces of a node, in which nothing of Kubernetes runs yet.
func New(ctx context.Context) (*Node, error) {
	if err := sweep(ctx); err != nil {
		return nil, fmt.Errorf("remove what a killed node has left: %w", err)
	}
	h, err := newHome()
	if err != nil {
		return nil, err
	}
	n := &Node{home: h, relays: newRelays()}
	if err := n.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare node: %w", err), n.Stop())
	}
	return n, nil
}

func (n *Node) prepare(ctx context.Context) (err error) {
	if err := errors.Join(os.Mkdir(n.path("logs"), folderMode), n.makeCgroups()); err != nil {
		return err
	}
	if n.namespaces, err = startNamespaces(ctx, n.log("namespaces")); err != nil {
		return err
	}
	socket := n.path("egress.sock")
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	n.relays.serve(listener, n.connect)
	return os.WriteFile(n.path("egress.yaml"), fmt.Appendf(nil, egressConfig, socket), privateMode)
}

// Dial connects to an address as the node sees it, such as a Pod's.
func (n *Node) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return n.namespaces.dial(ctx, network, address)
}

// Expose lets the node and its Pods reach a loopback address of the machine: under
// its port on the node's own loopback, and at the address that is returned.
func (n *Node) Expose(ctx context.Context, loopback string) (string, error) {
	_, port, err := net.SplitHostPort(loopback)
	if err != nil {
		return "", err
	}
	listener, err := n.namespaces.listen(ctx, net.JoinHostPort("0.0.0.0", port))
	if err != nil {
		return "", fmt.Errorf("expose %s: %w", loopback, err)
	}
	n.relays.serve(listener, func(ctx context.Context, _ net.Conn) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", loopback)
	})
	return net.JoinHostPort(Gateway, port), nil
}

// Publish lets the machine reach an address inside, such as a Service's, at the
// loopback address that is returned.
func (n *Node) Publish(ctx context.Context, address string) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	n.relays.serve(listener, func(ctx context.Context, _ net.Conn) (net.Conn, error) {
		return n.Dial(ctx, "tcp", address)
	})
	return listener.Addr().String(), nil
}

// Join starts the node's programs, and returns when it is ready for Pods. It is
// called once.
func (n *Node) Join(ctx context.Context, cfg Config) error {
	if err := n.join(ctx, cfg); err != nil {
		return fmt.Errorf("join node: %w", err)
	}
	return nil
}

func (n *Node) join(ctx context.Context, cfg Config) error {
	program, err := findProgram(ctx, cfg.Builder)
	if err != nil {
		return err
	}
	config, err := cfg.Cluster.RESTConfig(kubecluster.Admin)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := errors.Join(n.write(cfg), n.linkKubectl(program)); err != nil {
		return err
	}
	if err := n.serveCluster(ctx, cfg.Cluster, client); err != nil {
		return err
	}
	containerd, err := n.run("containerd", "containerd", "--config", n.path("containerd.toml"))
	if err != nil {
		return err
	}
	kubelet := (*process.Process)(nil)
	for name, args := range n.components() {
		started, err := n.run(name, append([]string{program, name}, args...)...)
		if err != nil {
			return err
		}
		if name == "kubelet" {
			kubelet = started
		}
	}
	if err := kubelet.Ready(ctx, ready(client)); err != nil {
		return errors.Join(err, containerd.Fault(errNotReady))
	}
	return nil
}

// findProgram finds or builds the program that all of Kubernetes' own are links of.
func findProgram(ctx context.Context, builder kubecluster.Builder) (string, error) {
	if builder.Source == "" {
		root, err := source.Dir()
		if err != nil {
			return "", err
		}
		builder.Source = filepath.Join(root, "integration", "cluster", "node")
	}
	return builder.Program(ctx)
}

// serveCluster lets the node and Pods reach the API server, and Pods find Services
// by name.
func (n *Node) serveCluster(ctx context.Context, cluster *kubecluster.Cluster, client kubernetes.Interface) error {
	api, err := url.Parse(cluster.URL())
	if err != nil {
		return err
	}
	if _, err := n.Expose(ctx, api.Host); err != nil {
		return err
	}
	if err := backService(ctx, client, api.Port()); err != nil {
		return err
	}
	names, err := n.namespaces.listenPacket(ctx, "0.0.0.0:53")
	if err != nil {
		return err
	}
	n.relays.listeners = append(n.relays.listeners, names)
	n.relays.tasks.Go(func() { answerNames(n.relays.ctx, names, services(client)) })
	return nil
}

// backService puts the exposed API server behind the Service "kubernetes", which a
// control plane on loopback cannot do by itself.
func backService(ctx context.Context, client kubernetes.Interface, port string) error {
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return err
	}
	portName, portNumber := "https", int32(number)
	_, err = client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).Create(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{Gateway}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &portNumber}},
	}, metav1.CreateOptions{})
	return err
}

func (n *Node) run(component string, command ...string) (*process.Process, error) {
	return process.Start(process.Config{Name: component, Log: n.log(component), Command: n.namespaces.enter(command...)})
}

// ready wants the node's condition.
func ready(client kubernetes.Interface) func(context.Context) error {
	return func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type != corev1.NodeReady {
				continue
			}
			if condition.Status != corev1.ConditionTrue {
				return fmt.Errorf("%w: %s", errNotReady, condition.Message)
			}
			return nil
		}
		return errNotReady
	}
}

// Logs are the folders of what the node's programs and its Pods' containers say.
func (n *Node) Logs() (components, pods string) { return n.path("logs"), n.path("pods") }

// Stop ends the node with all its Pods, and removes what it has made.
func (n *Node) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	n.relays.stop()
	var errs []error
	if n.namespaces != nil {
		errs = append(errs, n.namespaces.stop())
	}
	return errors.Join(append(errs, n.remove(ctx))...)
}
