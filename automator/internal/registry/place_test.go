package registry

import (
	"context"
	"errors"
	"testing"

	"github.com/tandem-cd/tandem/shared/fault"
)

// TestEachIsSureOfNothing only if no place failed.
func TestEachIsSureOfNothing(t *testing.T) {
	t.Parallel()
	errDown, errLacks := errors.New("boom"), fault.New(fault.NotFound, "no such repository")
	client, err := New(Config{Hosts: map[string]Host{
		"registry.test": {Mirrors: []string{"one.test", "two.test"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for name, tc := range map[string]struct {
		answers [3]error
		want    error
	}{
		"None":             {[3]error{errNone, errNone, errNone}, errNone},
		"Lacking":          {[3]error{errLacks, errLacks, errNone}, errNone},
		"FirstDown":        {[3]error{errDown, errNone, errNone}, errDown},
		"SecondDown":       {[3]error{errNone, errDown, errNone}, errDown},
		"RegistryDown":     {[3]error{errNone, errLacks, errDown}, errDown},
		"FoundElsewhere":   {[3]error{errDown, errNone, nil}, nil},
		"LackedByRegistry": {[3]error{errDown, errDown, errLacks}, errLacks},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			err := client.each(t.Context(), "registry.test/acme/api", func(context.Context, place) error {
				asked++
				return tc.answers[asked-1]
			})
			if !errors.Is(err, tc.want) || asked != len(tc.answers) {
				t.Errorf("each(...): %v after %d places; want %v", err, asked, tc.want)
			}
		})
	}
}

// TestEachAnswersForNoPlaceThatWasNotAsked when the time ends with the answer of a mirror that has nothing.
func TestEachAnswersForNoPlaceThatWasNotAsked(t *testing.T) {
	t.Parallel()
	client, err := New(Config{Hosts: map[string]Host{"registry.test": {Mirrors: []string{"mirror.test"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	ctx, cancel := context.WithCancel(t.Context())
	err = client.each(ctx, "registry.test/acme/api", func(ctx context.Context, p place) error {
		if p.name == "mirror.test" {
			cancel()
			return errNone
		}
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("each(...): %v; want that the registry was not asked", err)
	}
}
