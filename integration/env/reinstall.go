package env

import "context"

// Reinstall does again what a user does once per cluster and once per namespace,
// after Kube.WipeEtcd has removed it: definition, roles, namespaces, accounts.
// Tokens are new, so a synchronizer that runs has to be started again.
func (w *World) Reinstall(ctx context.Context) error {
	w.stopNode()
	w.tasks.Wait()
	w.mapper.reset()
	if err := w.install(ctx); err != nil {
		return err
	}
	w.startNode()
	for _, site := range w.Sites {
		if err := site.install(ctx); err != nil {
			return err
		}
	}
	return nil
}
