// Package env is the whole system in a folder: a Kubernetes control plane with a
// simulated node, a container registry, a Git server, and the two agents as
// child processes with configuration files, certificates and keys of their own.
// Suites, benchmarks and the demo start from here.
//
// A Ground is what takes seconds to start and can be shared: the control plane
// and the agents' programs. A World stands on it with everything else, and knows
// nothing of other worlds. Each cluster that the world's automator serves is a
// Site: a namespace, an identity and a synchronizer.
//
//	ground, err := env.StartGround(ctx, env.GroundOptions{})
//	...
//	defer ground.Stop()
//	world, err := env.New(ctx, ground, env.Options{Sites: []string{"dev"}})
//	...
//	defer world.Close()
//	pushed, err := world.Registry.Push(ctx, "shop", "1.0.0", registry.Image{})
//	_, err = world.Commit(ctx, gitserver.Change{Files: env.Sample(...), Signer: world.Human})
//	err = world.StartAll(ctx)
//	status, err := world.WaitSync(ctx, "dev", "shop", env.Healthy)
//
// Nothing of the agents is reached into: a world uses what a user has, which is
// their configuration, their APIs, Git, the registry and the API server. Where a
// suite wants to hold or cut something it does so from outside, see package cut,
// registry.Registry.Inject and gitserver.Server.BeforePush.
package env
