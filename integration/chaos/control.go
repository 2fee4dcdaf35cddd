package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/integration/env/cut"
)

func controlStories() []Story {
	return []Story{
		{
			Name: "api-server",
			What: "The API server is killed during a release, and again as soon as it is back.",
			Tell: apiServer,
		},
		{
			Name: "etcd",
			What: "etcd is killed during a release, and is away for a while.",
			Tell: etcdAway,
		},
		{
			Name: "slow-etcd",
			What: "Every answer of etcd takes a third of a second.",
			Tell: slowEtcd,
		},
		{
			Name: "watch-expiry", Short: true,
			What: "The synchronizer's watches are dark while objects change; then their revisions are compacted and answered 410 Gone.",
			Tell: watchExpiry,
		},
	}
}

const apiServerRestarts = 3

func apiServer(ctx context.Context, s *Scene) error {
	s.Want.Failing = true
	if err := s.Release(ctx); err != nil {
		return err
	}
	for range apiServerRestarts {
		if err := s.World.Kube.RestartAPIServer(ctx); err != nil {
			return err
		}
	}
	if err := s.World.Refresh(ctx); err != nil {
		return err
	}
	s.Over()
	return s.Converged(ctx, "the API server is killed %d times during a release", apiServerRestarts)
}

// awayFor is how long etcd stays away: longer than the API server's and the synchronizer's first tries.
const awayFor = 10 * time.Second

func etcdAway(ctx context.Context, s *Scene) error {
	s.Want.Failing = true
	if err := s.World.Kube.KillEtcd(); err != nil {
		return err
	}
	if err := s.Release(ctx); err != nil {
		return err
	}
	if err := pause(ctx, awayFor); err != nil {
		return err
	}
	if err := s.refreshed(s.World.Kube.StartEtcd)(ctx); err != nil {
		return err
	}
	s.Over()
	return s.Converged(ctx, "etcd is away for %s", awayFor)
}

// pause lets a trouble last. Nothing is waited for by it.
func pause(ctx context.Context, how time.Duration) error {
	timer := time.NewTimer(how)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// etcdDelay is added to each direction.
const etcdDelay = 150 * time.Millisecond

func slowEtcd(ctx context.Context, s *Scene) error {
	s.Want.Failing = true
	proxy := s.World.Kube.EtcdProxy()
	proxy.Shape(cut.Shape{Delay: etcdDelay, Jitter: etcdDelay / 3})
	defer proxy.Shape(cut.Shape{})
	s.Over()
	for range 2 {
		if err := s.Release(ctx); err != nil {
			return err
		}
		if err := s.Converged(ctx, "etcd is %s slower each way; from the push on", etcdDelay); err != nil {
			return err
		}
		s.Over()
	}
	return nil
}

// watchExpiry changes and removes what the synchronizer manages while it cannot see that, and has the API server forget
// everything from which a watch could go on.
func watchExpiry(ctx context.Context, s *Scene) error {
	s.Site.API.Hold(cut.Down)
	maps := s.World.Client.CoreV1().ConfigMaps(s.Site.Namespace)
	err := errors.Join(
		change(ctx, maps, "web", `{"data":{"GREETING":"by hand"}}`),
		change(ctx, maps, "bystander", `{"data":{"noise":"1"}}`),
		s.World.Client.CoreV1().Services(s.Site.Namespace).Delete(ctx, "web", metav1.DeleteOptions{}),
	)
	if err != nil {
		return err
	}
	if err := s.World.Kube.CompactEtcd(ctx); err != nil {
		return err
	}
	if err := s.refreshed(s.World.Kube.RestartAPIServer)(ctx); err != nil {
		return err
	}
	if err := s.World.Kube.CompactEtcd(ctx); err != nil {
		return err
	}
	delete(s.Want.UIDs, "Service/web") // somebody removed it, and it comes back as another
	s.Site.API.Release()
	s.Over()
	if err := s.Converged(ctx, "watches expired while objects were changed and removed"); err != nil {
		return err
	}
	live, err := s.live(ctx)
	if err != nil {
		return err
	}
	s.Want.UIDs["Service/web"] = live["Service/web"]
	return nil
}

// patcher changes ConfigMaps.
type patcher interface {
	Patch(ctx context.Context, name string, kind types.PatchType, patch []byte, opts metav1.PatchOptions, subresources ...string) (*corev1.ConfigMap, error)
}

func change(ctx context.Context, maps patcher, name, patch string) error {
	if _, err := maps.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		return fmt.Errorf("change %s: %w", name, err)
	}
	return nil
}
