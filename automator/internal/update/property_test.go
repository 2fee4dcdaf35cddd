package update_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/automator/internal/gitrepo"
	"github.com/tandem-cd/tandem/automator/internal/policy"
	"github.com/tandem-cd/tandem/automator/internal/update"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

// TestWhateverHappens lets everything happen in any order: releases, commits of others, hand-made changes, pushes that are
// lost, refused or cut off, processes that die. Once it is quiet, the content is what is wanted, every commit of others is
// in history in its order, and nothing was written twice.
func TestWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 40).Draw(rt, "steps")
		tags := rapid.SliceOfN(rapid.IntRange(1, 30), len(steps), len(steps)).Draw(rt, "tags")
		var failed string
		synctest.Test(t, func(t *testing.T) { failed = chaos(t, steps, tags) })
		if failed != "" {
			rt.Fatal(failed)
		}
	})
}

// run starts a process and returns what ends it.
func (s *scene) run() (stop func()) {
	s.updater = s.newUpdater()
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error)
	updater := s.updater
	go func() { done <- updater.Run(ctx) }()
	return func() {
		cancel()
		<-done
	}
}

func chaos(t *testing.T, steps, tags []int) (failed string) {
	s := newScene(t, shop())
	s.images.push(api, "1.0.0")
	s.images.push(web, "1.0.0")
	stop := s.run()
	defer func() { stop() }()
	var foreign commits
	newest := map[string]string{api: "1.0.0", web: "1.0.0"} // by anybody
	meanwhile := func(content string) {
		foreign.add(func() gitobject.ID { return s.foreign("meanwhile", map[string]string{"README.md": content}) })
	}
	for i, step := range steps {
		repository, name := api, "api"
		if tags[i]%2 == 0 {
			repository, name = web, "web"
		}
		tag := fmt.Sprintf("1.%d.0", tags[i])
		switch step {
		case 0, 1, 2: // a release, or one that is old
			s.images.push(repository, tag)
			if order, _ := (policy.Policy{}).Compare(tag, newest[repository]); order > 0 {
				newest[repository] = tag
			}
			s.updater.Wake()
		case 3: // a commit beside us that the mirror has not seen
			meanwhile(fmt.Sprint("unseen ", i))
		case 4: // a race that is lost
			s.pushes.then(func(push func() error) error { meanwhile(fmt.Sprint("race ", i)); return push() })
		case 5: // cut off, and taken
			s.pushes.then(s.cut)
		case 6: // cut off, and not taken
			s.pushes.then(func(func() error) error { return gitrepo.ErrOutcomeUnknown })
		case 7: // refused
			s.pushes.then(func(func() error) error { return fault.New(fault.Unauthorized, "frozen") })
		case 8: // somebody writes something newer by hand
			if order, _ := (policy.Policy{}).Compare(tag, newest[repository]); order > 0 {
				newest[repository] = tag
				s.images.push(repository, tag)
				file := map[string]string{"env/dev/" + name + ".yaml": manifest(name, pinned(repository, tag))}
				foreign.add(func() gitobject.ID { return s.foreign("by hand", file) })
			}
		case 9: // the process dies, at whatever it is doing
			stop()
			stop = s.run()
		}
		if tags[i]%3 == 0 {
			synctest.Wait()
		}
	}
	<-time.After(time.Hour)
	s.updater.Wake()
	<-time.After(time.Hour)
	stop()
	stop = func() {}
	return s.check(foreign.ids, newest)
}

// commits are those of others, in the order in which the remote took them, whoever makes them: the test, or a push that
// loses a race.
type commits struct {
	mu  sync.Mutex
	ids []gitobject.ID
}

func (c *commits) add(commit func() gitobject.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids = append(c.ids, commit())
}

// check says what is not as it must be once everything is quiet.
func (s *scene) check(foreign []gitobject.ID, newest map[string]string) string {
	_, files, history := s.at()
	for name, repository := range map[string]string{"api": api, "web": web} {
		if want := manifest(name, pinned(repository, newest[repository])); files["env/dev/"+name+".yaml"] != want {
			return fmt.Sprintf("%s is not at %s:\n%s", name, newest[repository], files["env/dev/"+name+".yaml"])
		}
	}
	slices.Reverse(history)
	var theirs []gitobject.ID
	seen := map[string]bool{}
	for i, commit := range history[1:] {
		raw, _ := gitobject.Hash(gitobject.SHA1, gitobject.TypeCommit, commit.Encode())
		if commit.Author.Name == "Ann" {
			theirs = append(theirs, raw)
			continue
		}
		if commit.Tree == history[i].Tree {
			return fmt.Sprintf("commit %q changes nothing", commit.Message)
		}
		for _, trailer := range commit.Trailers() {
			if trailer.Key == "Tandem-Image" && seen[trailer.Value] {
				return fmt.Sprintf("%s was written twice", trailer.Value)
			}
			seen[trailer.Value] = true
		}
	}
	if !slices.Equal(foreign, theirs) {
		return fmt.Sprintf("%d commits of others became %d", len(foreign), len(theirs))
	}
	if problems := s.problems(); len(problems) > 0 {
		return fmt.Sprintf("problems: %q", problems)
	}
	if committed := s.events.seen(update.Committed); len(committed) != len(history)-1-len(theirs) {
		return fmt.Sprintf("%d commits of ours, told of %d: %q", len(history)-1-len(theirs), len(committed), committed)
	}
	return ""
}
