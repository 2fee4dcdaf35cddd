package story

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// objects waits until as many objects of a kind have a matching name as are wanted.
func objects(s *Teller, _ *testscript.TestScript, args []string) error {
	want, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	return s.until(func(ctx context.Context) error {
		names, err := s.names(ctx, args[0], args[1])
		if err == nil && len(names) != want {
			return fmt.Errorf("%w: %q match %s, want %d", errNotYet, names, args[1], want)
		}
		return err
	})
}

// remove deletes every object of a kind with a matching name, as a person does.
func remove(s *Teller, _ *testscript.TestScript, args []string) error {
	names, err := s.names(s.ctx, args[0], args[1])
	if err != nil {
		return err
	}
	background := metav1.DeletePropagationBackground
	for _, name := range names {
		if err := s.client(args[0]).Delete(s.ctx, name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Teller) names(ctx context.Context, kind, pattern string) ([]string, error) {
	matches, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	list, err := s.client(kind).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range list.Items {
		if name := list.Items[i].GetName(); matches.MatchString(name) && list.Items[i].GetDeletionTimestamp() == nil {
			names = append(names, name)
		}
	}
	return names, nil
}
