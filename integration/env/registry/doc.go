// Package registry runs a real container registry, distribution, in this
// process on loopback: real pagination, real authentication, and real webhooks
// by its own notification queue.
//
// A test may stand between the registry and its clients, see Inject, and
// pushes images with Push, which says when the registry acknowledged them.
//
//	reg, err := registry.Start(registry.Options{})
//	if err != nil {
//		return err
//	}
//	defer reg.Stop()
//	reg.Notify(registry.Webhook{URL: automator + "/hooks/distribution"})
//	pushed, err := reg.Push(ctx, "team/app", "1.2.3", registry.Image{})
//
// Two things distribution does to its process cannot be helped: each registry
// leaves two goroutines behind, which LeakedGoroutines names, and after each
// notification the idle connections of http.DefaultTransport are closed.
package registry
