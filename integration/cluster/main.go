package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "time/tzdata" // CronJobs with a time zone, on machines without zone files

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // request metrics of the components' clients
	_ "k8s.io/component-base/metrics/prometheus/version"  // the kubernetes_build_info metric
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// exitUsage is what a shell's programs answer to a command line they cannot read.
const exitUsage = 2

// component runs one part of the control plane until it ends, and returns the
// program's exit code. args[0] is the component's name.
type component struct {
	name string
	run  func(args []string) int
}

// components lists what is linked in. The scheduler and the kubelet join here
// when a real node is wanted; each adds half a minute to the first build.
func components() []component {
	return []component{
		{name: "etcd", run: func(args []string) int {
			etcdmain.Main(args) // exits by itself on failure
			return 0
		}},
		{name: "kube-apiserver", run: func(args []string) int {
			cmd := apiserver.NewAPIServerCommand()
			cmd.SetArgs(args[1:])
			return cli.Run(cmd)
		}},
		{name: "kube-controller-manager", run: func(args []string) int {
			cmd := controllermanager.NewControllerManagerCommand()
			cmd.SetArgs(args[1:])
			return cli.Run(cmd)
		}},
	}
}

func main() {
	all := components()
	os.Args[0] = filepath.Base(os.Args[0])
	args := os.Args
	at := find(all, args)
	if at < 0 { // called by its own name
		args = args[1:]
		at = find(all, args)
	}
	if at < 0 {
		fmt.Fprintln(os.Stderr, "usage: kube", "<"+names(all)+">", "[flags]")
		os.Exit(exitUsage)
	}
	os.Args = args // the components read it for their usage texts
	os.Exit(all[at].run(args))
}

// find returns the index of the component that args[0] names, or -1.
func find(all []component, args []string) int {
	return slices.IndexFunc(all, func(c component) bool { return len(args) > 0 && c.name == args[0] })
}

func names(all []component) string {
	list := make([]string, len(all))
	for i, c := range all {
		list[i] = c.name
	}
	return strings.Join(list, "|")
}
