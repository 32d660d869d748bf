// Command kubernetes-control-plane is etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl in one
// program, so that they share one build and one binary. It is chosen by the name it is called by (links with the names
// of the five, as in KUBEBUILDER_ASSETS), or by its first argument.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	// kubectl reads kubeconfigs with authentication plugins only where they are linked in.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

const programs = "etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl"

func main() {
	name := filepath.Base(os.Args[0])
	if !run(name) {
		if len(os.Args) < 2 {
			fail("which program? One of " + programs)
		}
		os.Args = os.Args[1:]
		if !run(os.Args[0]) {
			fail(fmt.Sprintf("%q is none of the programs in here: %s", os.Args[0], programs))
		}
	}
}

// run runs the named program and exits the process when it ends; it returns false if there is no such program.
func run(name string) bool {
	var command *cobra.Command
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
		return true
	case "kube-apiserver":
		command = apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		command = controllermanager.NewControllerManagerCommand()
	case "kube-scheduler":
		command = scheduler.NewSchedulerCommand()
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
		return true
	default:
		return false
	}
	os.Exit(cli.Run(command))
	return true
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(2)
}
