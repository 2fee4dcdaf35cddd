package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tandem-cd/tandem/integration/env"
)

func recoveryStories() []Story {
	return []Story{
		{
			Name: "automator-rebuilt", Short: true,
			What:    "The automator's disk is lost; it is rebuilt from its configuration, its authority's key and Git.",
			Options: enrolling(certificateLife),
			Tell:    automatorRebuilt,
		},
		{
			Name:    "certificates-expire",
			What:    "The automator is away for longer than certificates live; the cluster renews with its old key, and needs no token.",
			Options: enrolling(shortLife),
			Tell:    certificatesExpire,
		},
		{
			Name:    "etcd-wiped",
			What:    "The cluster's etcd is wiped, its identity with it; everything is installed again with the same values and enroll --replace.",
			Options: enrolling(certificateLife),
			Tell:    etcdWiped,
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
	return s.Converged(ctx, "the automator is rebuilt from its authority's key and Git; from its start on")
}

// shortLife is how long a certificate lives that expires during a story.
const shortLife = 15 * time.Second

// certificatesExpire has no token for the cluster to enroll anew with. A version is pushed while there is no automator.
func certificatesExpire(ctx context.Context, s *Scene) error {
	if err := os.Remove(s.Site.TokenFile()); err != nil {
		return err
	}
	s.World.Automator.Kill()
	if err := s.Release(ctx); err != nil {
		return err
	}
	before, err := s.certificate(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, time.Until(before.NotAfter.Add(time.Second))); err != nil {
		return err
	}
	if err := s.World.Automator.Start(ctx); err != nil {
		return err
	}
	s.Over()
	if err := s.Converged(ctx, "the certificate expired while the automator was away; from its start on"); err != nil {
		return err
	}
	after, err := s.certificate(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(after.RawSubjectPublicKeyInfo, before.RawSubjectPublicKeyInfo) || !after.NotAfter.After(before.NotAfter) {
		return fmt.Errorf("%w: the certificate until %s was not renewed with the same key", errNotWell, before.NotAfter)
	}
	return nil
}

// etcdWiped is a cluster that lost everything: objects, Syncs, accounts, its identity, what the synchronizer noted, and its
// own disk. The token that it was installed with is worth nothing any more.
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
	if err := s.logged(ctx, "redeemed"); err != nil {
		return err
	}
	if err := s.enroll(ctx, "--replace"); err != nil {
		return err
	}
	s.Over()
	return s.Converged(ctx, "etcd is wiped and everything installed again; from enroll --replace on")
}
