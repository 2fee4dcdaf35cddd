package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-cd/tandem/integration/env/cut"
)

func networkStories() []Story {
	return []Story{
		{
			Name: "cuts", Short: true,
			What: "Every connection is cut while a release is under way, again and again.",
			Tell: cuts,
		},
		{
			Name: "slow-network",
			What: "Everything is delayed, throttled, and reordered between connections.",
			Tell: slowNetwork,
		},
		{
			Name: "black-hole",
			What: "Connections stay open and carry nothing, until they are released.",
			Tell: blackHole,
		},
		{
			Name: "half-open",
			What: "Open connections are forgotten on the way: nobody hears of an end, and only a new one would work.",
			Tell: halfOpen,
		},
	}
}

// link is one of the connections between the parts.
type link struct {
	name  string
	proxy *cut.Proxy
}

func (s *Scene) links() []link {
	return []link{
		{"synchronizer to automator", s.Site.Relay},
		{"synchronizer to API server", s.Site.API},
		{"automator to Git host", s.World.GitHost},
		{"API server to etcd", s.World.Kube.EtcdProxy()},
	}
}

const (
	// cutRounds is how often each link is cut, cutEvery how long there is between two cuts.
	cutRounds = 10
	cutEvery  = 30 * time.Millisecond
)

// cuts ends each link every 30 ms from the push on, for about as long as a release takes.
func cuts(ctx context.Context, s *Scene) error {
	for _, l := range s.links() {
		if err := s.Release(ctx); err != nil {
			return err
		}
		ticker := time.NewTicker(cutEvery)
		for range cutRounds {
			<-ticker.C
			l.proxy.Cut()
		}
		ticker.Stop()
		s.Over()
		if err := s.Converged(ctx, "%s is cut %d times", l.name, cutRounds); err != nil {
			return err
		}
	}
	return nil
}

// slowNetwork has no end of the trouble to count from: the time is that of a release on such a network.
func slowNetwork(ctx context.Context, s *Scene) error {
	for _, shape := range []struct {
		name  string
		shape cut.Shape
	}{
		{"100 ms each way, 100 ms jitter", cut.Shape{Delay: 100 * time.Millisecond, Jitter: 100 * time.Millisecond}},
		{"16 kB/s", cut.Shape{Rate: 16_000}},
	} {
		for _, l := range s.links()[:3] { // etcd has a story of its own
			l.proxy.Shape(shape.shape)
		}
		s.Over()
		err := s.Release(ctx)
		if err == nil {
			err = s.Converged(ctx, "every link has %s; from the push on", shape.name)
		}
		for _, l := range s.links() {
			l.proxy.Shape(cut.Shape{})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// darkness is longer than both sides' patience with a silent stream (two heartbeats and a half).
const darkness = 45 * time.Second

func blackHole(ctx context.Context, s *Scene) error {
	for _, l := range s.links()[:3] {
		l.proxy.Hold(cut.Down)
		l.proxy.Hold(cut.Up)
		if err := s.Release(ctx); err != nil {
			return err
		}
		select {
		case <-time.After(darkness):
		case <-ctx.Done():
			return fmt.Errorf("in the dark: %w", ctx.Err())
		}
		l.proxy.Release()
		s.Over()
		if err := s.Converged(ctx, "%s is a black hole for %s", l.name, darkness); err != nil {
			return err
		}
	}
	return nil
}

// halfOpen has no end to count from but the agents' own: until they give a silent connection up nothing happens.
func halfOpen(ctx context.Context, s *Scene) error {
	for _, l := range s.links()[:3] {
		l.proxy.Abandon()
		s.Over()
		if err := s.Release(ctx); err != nil {
			return err
		}
		if err := s.Converged(ctx, "%s is forgotten on the way; from the push on", l.name); err != nil {
			return err
		}
	}
	return nil
}
