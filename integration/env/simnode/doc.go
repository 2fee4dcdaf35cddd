// Package simnode plays a Kubernetes node, and the scheduler, for a control
// plane that has neither. Nothing runs: it binds Pods to a Node object and
// writes the status that a kubelet would have written, so that Deployments
// become Available and a converging agent sees what it would see in earnest.
//
// What it is honest about: a Pod is Running only when its images exist, as the
// resolver sees it, and its imageID is the digest that was found. An image that
// does not exist ends in ErrImagePull and is tried again. Containers of Pods
// that are not to be restarted complete at once, so Jobs end. Behave decides
// otherwise, for a release that crashes or never becomes ready.
//
// What it leaves out: probes, logs, ports, resources, volumes, affinity and
// taints. Pods have addresses at which nothing listens.
//
//	node := simnode.New(client, simnode.Config{Resolve: registry.Resolve})
//	return node.Run(ctx)
package simnode
