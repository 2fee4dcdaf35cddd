package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

func diskStories() []Story {
	return []Story{
		{
			Name: "automator-disk-full",
			What: "The automator's disk is full before a release, in the midst of one, and while it is started.",
			Before: func(s *Scene) error {
				return s.smallDisk(filepath.Join(s.World.Dir(), "automator"))
			},
			Tell: automatorDiskFull,
		},
		{
			Name: "synchronizer-disk-full",
			What: "The synchronizer's disk is full before a release, in the midst of one, and while it is started.",
			Before: func(s *Scene) error {
				return s.smallDisk(filepath.Join(s.World.Dir(), site, "state"))
			},
			Tell: synchronizerDiskFull,
		},
	}
}

const (
	// diskSize is enough for a mirror, an event log and the objects of a small application.
	diskSize = 32 << 20
	// fullFor is how long a disk is full at least, so that several tries fail.
	fullFor = 3 * time.Second

	folderMode  = 0o755
	privateMode = 0o600
)

// smallDisk puts a file system of a few megabytes in place of a folder.
func (s *Scene) smallDisk(dir string) error {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return err
	}
	if err := mount(dir, diskSize); err != nil {
		return fmt.Errorf("%w: a small disk needs the right to mount one: run as root, or as \"unshare --user --map-root-user --mount make chaos\": %w", ErrSkipped, err)
	}
	s.after = append(s.after, func() error { return unmount(dir) })
	s.disk = dir
	return nil
}

// fill leaves no byte free on the small disk, until empty.
func (s *Scene) fill() (empty func() error, err error) {
	path := filepath.Join(s.disk, "filler")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, privateMode)
	if err != nil {
		return nil, err
	}
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		if _, err = file.Write(block); err != nil {
			block = block[:len(block)/2] // ever smaller, until the last byte is taken
		}
	}
	empty = func() error { return errors.Join(file.Close(), os.Remove(path)) }
	if !errors.Is(err, syscall.ENOSPC) {
		return nil, errors.Join(fmt.Errorf("the disk did not become full: %w", err), empty())
	}
	return empty, nil
}

// full makes the disk full while something is done.
func (s *Scene) full(ctx context.Context, do func(context.Context) error) error {
	empty, err := s.fill()
	if err != nil {
		return err
	}
	err = do(ctx)
	if err == nil {
		err = pause(ctx, fullFor)
	}
	return errors.Join(err, empty())
}

func automatorDiskFull(ctx context.Context, s *Scene) error {
	if err := s.full(ctx, s.Release); err != nil {
		return err
	}
	s.Over()
	if err := s.Converged(ctx, "the automator's disk was full before the push"); err != nil {
		return err
	}
	for _, p := range points() {
		if err := s.fullAt(ctx, p); err != nil {
			return err
		}
	}
	return s.fullAtStart(ctx, s.victims()[0])
}

func synchronizerDiskFull(ctx context.Context, s *Scene) error {
	if err := s.full(ctx, s.Release); err != nil {
		return err
	}
	s.Over()
	if err := s.Converged(ctx, "the synchronizer's disk was full before the push"); err != nil {
		return err
	}
	for _, p := range points() {
		if p.by != "synchronizer" {
			continue
		}
		if err := s.fullAt(ctx, p); err != nil {
			return err
		}
	}
	return s.fullAtStart(ctx, s.victims()[1])
}

// fullAt makes the disk full between two steps of a release.
func (s *Scene) fullAt(ctx context.Context, p point) error {
	pass, err := p.reach(ctx, s)
	if err != nil {
		pass()
		return err
	}
	err = s.full(ctx, func(context.Context) error {
		pass()
		return nil
	})
	if err != nil {
		return err
	}
	s.Over()
	return s.Converged(ctx, "%s: the disk was full", p.name)
}

// fullAtStart kills an agent and starts it on a full disk: it may refuse to start, as long as it starts afterwards.
func (s *Scene) fullAtStart(ctx context.Context, v victim) error {
	if err := v.kill(ctx); err != nil {
		return err
	}
	started := false
	err := s.full(ctx, func(ctx context.Context) error {
		started = v.start(ctx) == nil
		return s.Release(ctx)
	})
	if err != nil {
		return err
	}
	if !started {
		if err := v.start(ctx); err != nil {
			return err
		}
	}
	s.Over()
	return s.Converged(ctx, "%s was started on a full disk (it ran: %v)", v.name, started)
}
