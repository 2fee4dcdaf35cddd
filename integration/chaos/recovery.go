package chaos

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/tandem-cd/tandem/integration/env"
)

func recoveryStories() []Story {
	return []Story{
		{
			Name: "automator-rebuilt", Short: true,
			What: "The automator's disk is lost; it is rebuilt from its configuration, its keys and Git.",
			Tell: automatorRebuilt,
		},
		{
			Name: "etcd-wiped",
			What: "The cluster's etcd is wiped, and everything is installed again with the same values.",
			Tell: etcdWiped,
		},
	}
}

// automatorRebuilt loses mirrors, tag cache and event log. A version is pushed while there is no automator.
func automatorRebuilt(ctx context.Context, s *Scene) error {
	if err := s.Release(ctx); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	s.World.Automator.Kill()
	if err := os.RemoveAll(filepath.Join(s.World.Dir(), "automator")); err != nil {
		return err
	}
	for i := range s.Want.Releases {
		s.Want.Releases[i].Forgotten = true
	}
	if err := s.Release(ctx); err != nil {
		return err
	}
	if err := s.World.Automator.Start(ctx); err != nil {
		return err
	}
	s.Over()
	return s.Converged(ctx, "the automator is rebuilt from its keys and Git; from its start on")
}

// etcdWiped is a cluster that lost everything: objects, Syncs, accounts, what the synchronizer noted, and its own disk.
func etcdWiped(ctx context.Context, s *Scene) error {
	s.Site.Synchronizer.Kill()
	if err := s.World.Kube.WipeEtcd(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.World.Dir(), site, "state")); err != nil {
		return err
	}
	if err := s.Release(ctx); err != nil {
		return err
	}
	if err := s.World.Reinstall(ctx); err != nil {
		return err
	}
	s.Want.UIDs = nil
	// Nothing in the cluster knows any more what was verified, and the branch's head is the automator's. So the values that
	// it is installed with name a commit to trust; without one the Sync is refused, and says so.
	sync := env.SampleSyncFor(site) + "  trust: {since: " + s.Want.Foreign[0] + "}\n"
	if err := errors.Join(s.Site.Apply(ctx, bystander), s.Site.Apply(ctx, sync), s.Site.Synchronizer.Start(ctx)); err != nil {
		return err
	}
	live, err := s.live(ctx)
	if err != nil {
		return err
	}
	s.Want.UIDs = map[string]string{bystanderObject: live[bystanderObject]}
	s.Over()
	return s.Converged(ctx, "etcd is wiped and everything installed again; from the synchronizer's start on")
}
