// Package gitserver serves real Git repositories on loopback, over HTTP by
// git http-backend and over SSH by git upload-pack and git receive-pack.
//
// Everything Git does is done by the git program; this package only starts it,
// and lets a test stand in the way of a push: BeforePush, to refuse it or hold
// it back, and AfterPush, for the case that Git accepted a push and its client
// never learns of it.
//
//	server, err := gitserver.Start(gitserver.Options{})
//	if err != nil {
//		return err
//	}
//	defer server.Stop()
//	tip, err := server.Seed(ctx, "team/app", map[string]string{"app.yaml": manifest}, nil)
//	clone := server.URL("team/app")
package gitserver
