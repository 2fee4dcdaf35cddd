package kubecluster

// Admin is the user that RBAC lets do everything, by its group.
const (
	Admin      = "admin"
	adminGroup = "system:masters"
)

// Options chooses what Start brings up. The zero value is an API server on an
// etcd, in a temporary folder that Stop removes.
type Options struct {
	// Dir holds the cluster's data and keys; it must be empty or absent. Where
	// it is not given a temporary folder is made and Stop removes it.
	Dir string
	// LogDir receives one file per component; by default Dir/logs.
	LogDir string
	// Controllers starts the controller manager too, so that Deployments become
	// Pods, namespaces are finalized and service accounts exist.
	Controllers bool
	// Audit records the metadata of every request, for Requests.
	Audit bool
	// Profiles lets the API server be profiled, see Profile.
	Profiles bool
	// BetweenEtcd puts a proxy between the API server and etcd, see EtcdProxy.
	BetweenEtcd bool
	// APIServerArgs and ControllerArgs come after our own flags, and win.
	APIServerArgs  []string
	ControllerArgs []string
	// Builder finds or builds the programs; its zero value is right in the
	// source tree.
	Builder Builder
}
