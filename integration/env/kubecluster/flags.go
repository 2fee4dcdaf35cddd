package kubecluster

import (
	"net"
	"strconv"
)

const (
	loopback       = "127.0.0.1"
	serviceNetwork = "10.0.0.0/24"
	serviceAddress = "10.0.0.1"

	// controllersUser is known to RBAC's bootstrap policy.
	controllersUser = "system:kube-controller-manager"
)

func (l layout) etcdURL() string { return "http://" + net.JoinHostPort(loopback, l.etcdPort) }

// etcdArgs trade durability for speed: the data does not outlive the process.
// The only member elects itself after the election timeout, which etcd keeps at
// five heartbeats or more; by the defaults that is most of a second.
func (c *Cluster) etcdArgs() []string {
	return []string{
		"--data-dir=" + c.path("etcd"),
		"--listen-client-urls=" + c.etcdURL(),
		"--advertise-client-urls=" + c.etcdURL(),
		"--listen-peer-urls=http://" + net.JoinHostPort(loopback, "0"), // a cluster of one has no peers
		"--heartbeat-interval=10",
		"--election-timeout=50",
		"--unsafe-no-fsync",
		"--log-level=warn",
	}
}

// maxAuditMiB is how large the log of requests may become. Beyond it the API server begins another one, and what was asked
// before would not be counted any more; its own default is reached by the longer benchmarks.
const maxAuditMiB = 8 << 10

func (c *Cluster) apiserverArgs() []string {
	args := []string{
		"--etcd-servers=" + c.etcdAddress(),
		"--bind-address=" + loopback,
		"--secure-port=" + c.apiserverPort,
		"--cert-dir=" + c.path("apiserver"),
		"--tls-cert-file=" + c.path("serving.crt"),
		"--tls-private-key-file=" + c.path("serving.key"),
		"--client-ca-file=" + c.path("ca.crt"),
		"--authorization-mode=RBAC",
		"--service-account-key-file=" + c.path("accounts.key"),
		"--service-account-signing-key-file=" + c.path("accounts.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range=" + serviceNetwork,
		"--endpoint-reconciler-type=none",
		"--allow-privileged=true",
		"--profiling=" + strconv.FormatBool(c.opts.Profiles),
	}
	if c.opts.Audit {
		args = append(args, "--audit-policy-file="+c.path("audit-policy.yaml"), "--audit-log-path="+c.auditLog(),
			"--audit-log-maxsize="+strconv.Itoa(maxAuditMiB))
	}
	return append(args, c.opts.APIServerArgs...)
}

// controllerArgs lift the client's default of 20 requests a second, which is
// what a benchmark would otherwise measure.
func (c *Cluster) controllerArgs() []string {
	args := []string{
		"--kubeconfig=" + c.path("controllers.kubeconfig"),
		"--authentication-kubeconfig=" + c.path("controllers.kubeconfig"),
		"--authorization-kubeconfig=" + c.path("controllers.kubeconfig"),
		"--bind-address=" + loopback,
		"--secure-port=" + c.controllersPort,
		"--cert-dir=" + c.path("controllers"),
		"--tls-cert-file=" + c.path("serving.crt"),
		"--tls-private-key-file=" + c.path("serving.key"),
		"--root-ca-file=" + c.path("ca.crt"),
		"--cluster-signing-cert-file=" + c.path("ca.crt"),
		"--cluster-signing-key-file=" + c.path("ca.key"),
		"--service-account-private-key-file=" + c.path("accounts.key"),
		"--use-service-account-credentials",
		"--leader-elect=false",
		"--kube-api-qps=2000",
		"--kube-api-burst=4000",
		"--concurrent-deployment-syncs=20",
		"--concurrent-replicaset-syncs=20",
		"--concurrent-service-endpoint-syncs=20",
	}
	return append(args, c.opts.ControllerArgs...)
}
