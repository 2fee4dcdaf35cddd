package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tandem-cd/tandem/integration/env/gitserver"
)

func gitStories() []Story {
	return []Story{
		{
			Name: "foreign-writers", Short: true,
			What: "Twenty people commit to the branch, as fast as it lets them, while versions are pushed.",
			Tell: foreignWriters,
		},
		{
			Name: "git-cuts",
			What: "The Git host accepts pushes and cuts the connection instead of answering.",
			Tell: gitCuts,
		},
		{
			Name: "git-times-out",
			What: "The Git host accepts pushes and never answers.",
			Tell: gitTimesOut,
		},
	}
}

const (
	writers = 20
	// atOnce is how many of them race for the branch at a time: more would only keep each other from winning, as every
	// loser makes its commit anew.
	atOnce          = 3
	pushesMeanwhile = 3
)

// foreignWriters has half of the people change what the cluster receives, and half of them something else.
func foreignWriters(ctx context.Context, s *Scene) error {
	group, groupCtx := errgroup.WithContext(ctx)
	places := make(chan struct{}, atOnce)
	ids := make(chan string, writers)
	for writer := range writers {
		group.Go(func() error { return s.write(groupCtx, writer, places, ids) })
	}
	for range pushesMeanwhile {
		if err := s.Release(ctx); err != nil {
			return err
		}
		s.Overtaken()
	}
	if err := group.Wait(); err != nil {
		return err
	}
	close(ids)
	for id := range ids {
		s.Want.Foreign = append(s.Want.Foreign, id)
	}
	s.Over()
	return s.Converged(ctx, "%d people commit, %d versions are pushed", writers, pushesMeanwhile)
}

// write commits, and does it again when somebody else was first, as people do.
func (s *Scene) write(ctx context.Context, writer int, places chan struct{}, ids chan<- string) error {
	path, content := fmt.Sprintf("docs/%d.md", writer), "A line\n"
	if writer%2 == 0 {
		path = fmt.Sprintf("env/%s/writer-%d.yaml", site, writer)
		content = fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: writer-%d}\n", writer)
	}
	places <- struct{}{}
	defer func() { <-places }()
	for {
		id, err := s.World.Commit(ctx, gitserver.Change{
			Files: map[string]string{path: content}, Message: fmt.Sprintf("Writer %d", writer),
			Author: fmt.Sprintf("Writer %d <writer@example.com>", writer), Signer: s.World.Human,
		})
		if err == nil {
			ids <- id
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
}

// errCut is the answer of a gate that cuts.
var errCut = errors.New("cut")

const cutPushes = 3

func gitCuts(ctx context.Context, s *Scene) error {
	for round := range cutPushes {
		cutOnce := make(chan struct{}, 1)
		s.World.Git.AfterPush(func(context.Context, string) error {
			s.World.Git.AfterPush(nil)
			cutOnce <- struct{}{}
			return errCut
		})
		if err := s.Release(ctx); err != nil {
			return err
		}
		if err := wait(ctx, cutOnce, "a push is cut"); err != nil {
			return err
		}
		s.Over()
		if err := s.Converged(ctx, "an accepted push is cut (%d)", round+1); err != nil {
			return err
		}
	}
	return nil
}

// gitTimesOut ends when the automator has lost its patience: until then it cannot know.
func gitTimesOut(ctx context.Context, s *Scene) error {
	given := make(chan struct{}, 1)
	s.World.Git.AfterPush(func(ctx context.Context, _ string) error {
		s.World.Git.AfterPush(nil)
		<-ctx.Done()
		given <- struct{}{}
		return nil
	})
	began := time.Now()
	if err := s.Release(ctx); err != nil {
		return err
	}
	if err := wait(ctx, given, "the automator gives the push up"); err != nil {
		return err
	}
	s.Over()
	return s.Converged(ctx, "an accepted push is never answered; given up after %.0f s", time.Since(began).Seconds())
}
