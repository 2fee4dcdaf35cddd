// Package node runs a real Kubernetes node on this machine: containerd with runc,
// kubelet, kube-proxy and a scheduler, in Linux namespaces of their own. It needs
// root on Linux, and Debian's packages containerd, runc,
// containernetworking-plugins and iptables, or the same programs from elsewhere;
// Check says what is missing or forbidden. What is Kubernetes' own is linked from
// its Go modules, like the control plane.
//
//	n, err := node.New(ctx)
//	defer n.Stop()
//	cluster, err := kubecluster.Start(ctx, kubecluster.Options{Controllers: true, APIServerArgs: n.APIServerArgs()})
//	images, err := n.Expose(ctx, registry.Host()) // where Pods and containerd reach it
//	err = n.Join(ctx, node.Config{Cluster: cluster, Sandbox: images + "/pause:1", Registries: []string{images}})
//
// The machine keeps its network, mounts and packet filter as they are: bridge,
// rules, mounts and processes live in namespaces that the kernel takes away with
// their first process, and that is killed when this process dies, however it
// dies. What is left then, a temporary folder and cgroups, the next New removes.
//
// Servers on the machine's loopback are reached from inside through Expose, and
// addresses inside from here through Dial and Publish. The API server reaches
// kubelets, Pods and Services through a proxy of ours. Services are kube-proxy's;
// their names are answered by a name server that knows nothing else, and nothing
// inside reaches any other network.
package node
