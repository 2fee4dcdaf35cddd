// Command node is what a node of Kubernetes needs besides a container runtime,
// the scheduler that finds it Pods, and kubectl, at the version of the control
// plane beside it. It is a module of its own, so that who needs no node builds
// none, and the control plane's cache stays good.
package main
