package node

import (
	"fmt"
	"os"
	"path/filepath"
)

// containerdConfig is for containerd 1.6 and later. restrict_oom_score_adj is for
// machines without CAP_SYS_RESOURCE, where runc would fail without it.
const containerdConfig = `version = 2
root = "%[1]s/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd.sock"
[ttrpc]
address = "/run/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
path = "%[1]s/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "%[2]s"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "%[3]s"
conf_dir = "%[1]s/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "%[1]s/registries"
`

// cniConfig attaches Pods to the bridge. There is no way out of it, so nothing is
// masqueraded but what kube-proxy does.
const cniConfig = `{
  "cniVersion": "0.4.0", "name": "pods",
  "plugins": [{
    "type": "bridge", "bridge": %[1]q, "isGateway": true, "hairpinMode": true,
    "ipam": {
      "type": "host-local", "dataDir": "/run/addresses", "routes": [{"dst": "0.0.0.0/0"}],
      "ranges": [[{"subnet": %[2]q, "gateway": %[3]q}]]
    }
  }]
}
`

// kubeletConfig works with either version of cgroups. Nothing is evicted and no
// image is collected: how full the machine's disk is, is not what is tested. The
// kubelet is reached from inside and through the API server only.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix:///run/containerd.sock
clusterDNS: [%[2]s]
clusterDomain: ` + clusterDomain + `
cgroupDriver: cgroupfs
cgroupRoot: %[3]s
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
evictionHard: {memory.available: 1Mi, nodefs.available: 0%%, nodefs.inodesFree: 0%%, imagefs.available: 0%%, imagefs.inodesFree: 0%%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
serializeImagePulls: false
oomScoreAdj: 0
resolvConf: ""
podLogsDir: %[1]s/pods
volumePluginDir: %[1]s/plugins
syncFrequency: 10s
`

// proxyConfig leaves the sysctls alone that are the whole machine's. Everything is
// masqueraded, so that answers of a Pod to another on the same bridge come back by
// the way that they were asked.
const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: %[1]s/kube-proxy.kubeconfig}
clusterCIDR: %[2]s
hostnameOverride: ` + Name + `
iptables: {masqueradeAll: true, minSyncPeriod: 100ms}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
oomScoreAdj: 0
`

// write makes the folders and files that the components read.
func (n *Node) write(cfg Config) error {
	users := map[string][]string{
		"kubelet":        {"system:node:" + Name, "system:nodes"},
		"kube-proxy":     {"system:kube-proxy"},
		"kube-scheduler": {"system:kube-scheduler"},
	}
	for component, user := range users {
		if err := cfg.Cluster.WriteKubeconfig(n.path(component+".kubeconfig"), user[0], user[1:]...); err != nil {
			return err
		}
	}
	files := map[string]string{
		"containerd.toml":                   fmt.Sprintf(containerdConfig, n.dir, cfg.Sandbox, plugins),
		filepath.Join("cni", "10.conflist"): fmt.Sprintf(cniConfig, bridge, podNetwork, Gateway),
		"kubelet.yaml":                      fmt.Sprintf(kubeletConfig, n.dir, Gateway, n.cgroup()),
		"kube-proxy.yaml":                   fmt.Sprintf(proxyConfig, n.dir, podNetwork),
	}
	for _, host := range cfg.Registries {
		files[filepath.Join("registries", host, "hosts.toml")] = fmt.Sprintf("[host.%q]\n", "http://"+host)
	}
	for file, content := range files {
		if err := os.MkdirAll(filepath.Dir(n.path(file)), folderMode); err != nil {
			return err
		}
		if err := os.WriteFile(n.path(file), []byte(content), privateMode); err != nil {
			return err
		}
	}
	return nil
}

// components are the command lines of what is Kubernetes' own.
func (n *Node) components() map[string][]string {
	return map[string][]string{
		"kubelet": {
			"--config=" + n.path("kubelet.yaml"),
			"--kubeconfig=" + n.path("kubelet.kubeconfig"),
			"--root-dir=" + n.path("kubelet"),
			"--cert-dir=" + n.path("kubelet", "pki"),
			"--hostname-override=" + Name,
			"--node-ip=" + Gateway,
		},
		"kube-proxy": {"--config=" + n.path("kube-proxy.yaml")},
		"kube-scheduler": {
			"--kubeconfig=" + n.path("kube-scheduler.kubeconfig"),
			"--authentication-kubeconfig=" + n.path("kube-scheduler.kubeconfig"),
			"--authorization-kubeconfig=" + n.path("kube-scheduler.kubeconfig"),
			"--cert-dir=" + n.path("kube-scheduler"),
			"--leader-elect=false",
		},
	}
}

// APIServerArgs are what the control plane needs for the node: kubelets may read
// what their own Pods need and nothing else, and the proxy is asked for
// connections into the node.
func (n *Node) APIServerArgs() []string {
	return []string{
		"--authorization-mode=Node", // besides RBAC, which the control plane has
		"--enable-admission-plugins=NodeRestriction",
		"--egress-selector-config-file=" + n.path("egress.yaml"),
		"--kubelet-preferred-address-types=InternalIP", // its name is nobody's outside
	}
}

// Kubectl is the program kubectl, of the control plane's version. It works after
// Join.
func (n *Node) Kubectl() string { return n.path("bin", "kubectl") }

func (n *Node) linkKubectl(program string) error {
	if err := os.MkdirAll(n.path("bin"), folderMode); err != nil {
		return err
	}
	return os.Symlink(program, n.Kubectl())
}
