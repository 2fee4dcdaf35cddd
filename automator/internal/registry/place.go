package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/tandem-cd/tandem/shared/fault"
)

// place is where a repository is to be had: at its registry, or at a mirror of it.
type place struct {
	*host

	repository name.Repository
}

// each asks the places of a repository, its mirrors first, until one answers. Its error is that of the last one, with what
// went wrong at those before. It is errNone only if no place failed: what has not answered may have what the others lack.
func (c *Client) each(ctx context.Context, repository string, ask func(context.Context, place) error) error {
	places, err := c.places(repository)
	if err != nil {
		return err
	}
	var before []string
	var failed error
	for i, p := range places {
		one, cancel := share(ctx, len(places)-i)
		err = ask(one, p)
		cancel()
		if err == nil {
			return nil
		}
		if !isAnswer(err) {
			failed = err
		}
		if ctx.Err() != nil && failed != nil {
			break
		}
		before = append(before, err.Error())
	}
	if errors.Is(err, errNone) && failed != nil {
		return failed
	}
	if len(before) > 1 {
		return fmt.Errorf("%w (before that: %s)", err, strings.Join(before[:len(before)-1], "; "))
	}
	return err
}

// isAnswer reports whether an error says that a place has no such thing. Many mirrors have some repositories and not others.
func isAnswer(err error) bool { return errors.Is(err, errNone) || fault.Is(err, fault.NotFound) }

// errShare is the cause of the end of what one of several places may take.
var errShare = errors.New("no answer in its share of the time; the next place is asked")

// share returns a context with an equal part of the time that is left for several places.
func share(ctx context.Context, places int) (context.Context, context.CancelFunc) {
	until, bounded := ctx.Deadline()
	if !bounded || places == 1 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, time.Until(until)/time.Duration(places), errShare)
}

// places returns where to ask for a repository, in order.
func (c *Client) places(repository string) ([]place, error) {
	asked, err := name.NewRepository(repository, name.StrictValidation)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%.300q is not an image repository with its registry, such as ghcr.io/acme/api", repository)
	}
	cfg := c.cfg.host(asked.RegistryStr())
	names := make([]string, 0, len(cfg.Mirrors)+1)
	for _, mirror := range cfg.Mirrors {
		names = append(names, mirror+"/"+asked.RepositoryStr())
	}
	if !cfg.MirrorsOnly {
		names = append(names, repository)
	}
	places := make([]place, 0, len(names))
	for _, at := range names {
		p, err := c.place(at)
		if err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	return places, nil
}

// place finds the registry of a repository by its whole name.
func (c *Client) place(at string) (place, error) {
	repository, err := name.NewRepository(at, name.StrictValidation)
	if err != nil {
		return place{}, fault.New(fault.Invalid, "%.300q is not an image repository: %w", at, err)
	}
	cfg := c.cfg.host(repository.RegistryStr())
	if cfg.Insecure {
		if repository, err = name.NewRepository(at, name.StrictValidation, name.Insecure); err != nil {
			return place{}, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[repository.RegistryStr()]
	if h == nil {
		if h, err = newHost(repository.RegistryStr(), cfg, c.cfg, c.metrics); err != nil {
			return place{}, err
		}
		c.hosts[repository.RegistryStr()] = h
	}
	return place{h, repository}, nil
}
