package chaos

import (
	"context"
	"fmt"
)

func killStories() []Story {
	return []Story{
		{
			Name: "kill", Short: true,
			What: "Between every two steps of a release, the process whose step is next is killed with kill -9.",
			Tell: func(ctx context.Context, s *Scene) error {
				for _, p := range points() {
					for _, v := range s.victims() {
						if v.name != p.by {
							continue
						}
						if err := s.killedAt(ctx, p, v); err != nil {
							return err
						}
					}
				}
				return nil
			},
		},
		{
			Name: "kill-any",
			What: "Between every two steps of a release, each process in turn is killed with kill -9: agents, API server, etcd.",
			Tell: func(ctx context.Context, s *Scene) error {
				s.Want.Failing = true // a control plane that is away longer than its node's lease marks the pods
				for _, p := range points() {
					for _, v := range s.victims() {
						if err := s.killedAt(ctx, p, v); err != nil {
							return err
						}
					}
				}
				return nil
			},
		},
		{
			Name: "kill-in-line",
			What: "One release is under way, and each process is killed with kill -9 when it is its turn: five in one release.",
			Tell: killInLine,
		},
	}
}

// killInLine kills everybody during one release.
func killInLine(ctx context.Context, s *Scene) error {
	pass, err := committed(ctx, s)
	if err != nil {
		pass()
		return err
	}
	victims := s.victims()
	order := []int{0, 1, 3, 4, 0, 1} // automator, synchronizer, API server, etcd, and the agents once more
	for i, which := range order {
		if err := victims[which].kill(ctx); err != nil {
			return err
		}
		if i == 0 {
			pass()
		}
		if err := victims[which].start(ctx); err != nil {
			return fmt.Errorf("start %s again: %w", victims[which].name, err)
		}
	}
	s.Over()
	return s.Converged(ctx, "%d processes are killed one after the other", len(order))
}
