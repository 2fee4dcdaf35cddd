package story

import (
	"context"
	"fmt"
	"regexp"

	"github.com/rogpeppe/go-internal/testscript"

	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
)

// reason waits until an environment says why nothing happens, or what does, in words that match.
func reason(s *Teller, _ *testscript.TestScript, args []string) error {
	pattern, err := regexp.Compile(args[0])
	if err != nil {
		return err
	}
	return s.until(func(ctx context.Context) error {
		client, err := s.World.Pipelines()
		if err != nil {
			return err
		}
		resp, err := client.ListPipelines(ctx, &pipelinev1.ListPipelinesRequest{})
		if err != nil {
			return err
		}
		var said []string
		for _, p := range resp.GetPipelines() {
			for _, e := range p.GetEnvironments() {
				if pattern.MatchString(e.GetReason()) {
					return nil
				}
				said = append(said, e.GetReason())
			}
		}
		return fmt.Errorf("%w: the environments say %q", errNotYet, said)
	})
}

// verdict waits until a rule decides about a tag.
func verdict(s *Teller, _ *testscript.TestScript, args []string) error {
	return s.until(func(ctx context.Context) error {
		client, err := s.World.Pipelines()
		if err != nil {
			return err
		}
		resp, err := client.ExplainImage(ctx, &pipelinev1.ExplainImageRequest{Image: "web", Tag: args[0], Tags: 1})
		if err != nil {
			return err
		}
		err = fmt.Errorf("%w: nothing explains %s", errNotYet, args[0])
		for _, e := range resp.GetExplanations() {
			for _, tag := range e.GetTags() {
				if tag.GetTag() == args[0] && tag.GetRule() == args[1] {
					return nil
				}
				err = fmt.Errorf("%w: the rule for %s is %s: %s", errNotYet, tag.GetTag(), tag.GetRule(), tag.GetReason())
			}
		}
		return err
	})
}
