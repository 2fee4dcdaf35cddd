// Package kubecluster runs a real Kubernetes control plane for tests and the
// demo: etcd, the API server and, where asked for, the controller manager, as
// child processes on loopback ports. It needs no root and downloads no
// prebuilt binary.
//
// The programs come from integration/cluster, which links them from their Go
// modules. The first Start builds them, which takes minutes, and keeps the
// result in the user's cache folder; every later Start finds it there.
//
//	cluster, err := kubecluster.Start(ctx, kubecluster.Options{Controllers: true})
//	if err != nil {
//		return err
//	}
//	defer cluster.Stop()
//	config, err := cluster.RESTConfig("jane", "developers")
//
// There is no node: Pods stay Pending until something plays one, see simnode.
// Attach wraps a cluster the user already has instead.
//
// Two environment variables are read. TANDEM_CACHE replaces the user's cache
// folder; KUBEBUILDER_ASSETS names a folder of prebuilt components that are
// taken instead of our own where they are present.
package kubecluster
