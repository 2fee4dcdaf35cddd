package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // request metrics of the components' clients
	_ "k8s.io/component-base/metrics/prometheus/version"  // the kubernetes_build_info metric
	kubectl "k8s.io/kubectl/pkg/cmd"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// exitUsage is what a shell's programs answer to a command line they cannot read.
const exitUsage = 2

// component returns the command of a part of Kubernetes, or nil for a name that
// is none.
func component(name string) *cobra.Command {
	switch name {
	case "kubectl":
		return kubectl.NewDefaultKubectlCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	case "kube-proxy":
		return proxy.NewProxyCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	default:
		return nil
	}
}

func main() {
	args := os.Args
	command := component(filepath.Base(args[0])) // called by a link of that name
	if command == nil && len(args) > 1 {
		args = args[1:]
		command = component(args[0])
	}
	if command == nil {
		fmt.Fprintln(os.Stderr, "usage:", filepath.Base(os.Args[0]), "<kubectl|kubelet|kube-proxy|kube-scheduler> [flags]")
		os.Exit(exitUsage)
	}
	os.Args = args // the components read it for their usage texts
	command.SetArgs(args[1:])
	os.Exit(cli.Run(command))
}
