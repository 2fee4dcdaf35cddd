// Command kube is a Kubernetes control plane in one file: etcd, the API server
// and the controller manager, linked from their Go modules.
//
// The first argument, or the name the program is called by, chooses the
// component; the rest is that component's own command line:
//
//	kube etcd --data-dir /tmp/etcd
//	kube kube-apiserver --etcd-servers http://127.0.0.1:2379
//
// One program and not three, because the components share most of their
// packages: they are compiled either way, but linked only once.
//
// The module stands outside go.work. Kubernetes' own go.mod names its staging
// modules by folder, so every one of them needs a replace line here, and those
// lines must not reach the product's modules. Build it with GOWORK=off.
package main
