// Package story runs stories: txtar scripts in which people push, commit, edit and kill, on real parts.
//
// Each story has a registry, a Git server, a pair of agents as processes and a namespace of its own; the stories of one
// package share a control plane. A story waits for what agents report and never for time to pass; every wait is bounded.
package story

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
)

const (
	// patience bounds each wait of a story.
	patience = 60 * time.Second
	// look is how often is looked at what cannot be watched.
	look = 50 * time.Millisecond
	// repo is the image repository of the sample application.
	repo = "acme/shop"
	// home is the site that commands mean when they name none.
	home = "dev"
)

// ground is the control plane of the package's stories, started by the first.
var ground struct { //nolint:gochecknoglobals // one for each test program
	once sync.Once
	*env.Ground
	err error
}

// Main runs a package's tests and stops the control plane.
func Main(m *testing.M) int {
	code := m.Run()
	if ground.Ground != nil {
		if err := ground.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// Ground returns the control plane that the package's tests share.
func Ground(t testing.TB) *env.Ground {
	t.Helper()
	ground.once.Do(func() {
		ground.Ground, ground.err = env.StartGround(context.WithoutCancel(t.Context()), env.GroundOptions{
			Progress: func(line string) { fmt.Fprintln(os.Stderr, line) },
		})
	})
	if ground.err != nil {
		t.Fatal(ground.err)
	}
	return ground.Ground
}

// Run runs the stories in testdata.
//
// A file named "world" says what a story needs besides the usual: a line "remote ssh", "commits api", "objects sha256", "branches release", "sites dev prod", "queries tree" or
// "queries none" for what the sites answer, or "enroll 20s" for sites that enroll by tokens, for certificates that live so
// long, or "wide" for Syncs that may write to a second namespace and to what is in none. The condition [long] holds unless the tests are short.
func Run(t *testing.T) {
	t.Helper()
	g := Ground(t)
	testscript.Run(t, testscript.Params{
		Dir:   "testdata",
		Setup: func(e *testscript.Env) error { return setUp(t, g, e) },
		Cmds:  commands(),
		Condition: func(name string) (bool, error) {
			if name != "long" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return !testing.Short(), nil
		},
		RequireUniqueNames: true,
	})
}

// Teller is the state of one story.
type Teller struct {
	World   *env.World
	ctx     context.Context //nolint:containedctx // a script's commands have no argument for it
	dir     string
	pushed  map[string]registry.Pushed // by tag
	keys    map[string]registry.Key    // of those who sign images
	hold    hold
	silent  string // the address of a server that never answers, and how it is ended
	silence func()
}

type tellerKey struct{}

func setUp(t *testing.T, g *env.Ground, e *testscript.Env) error {
	name := strings.ToLower(filepath.Base(e.WorkDir))
	options, err := readOptions(filepath.Join(e.WorkDir, "world"))
	if err != nil {
		return err
	}
	options.Name = strings.Trim(strings.NewReplacer("script-", "", "_", "-").Replace(name), "-")
	world, err := env.New(t.Context(), g, options)
	if err != nil {
		return err
	}
	s := &Teller{World: world, ctx: context.WithoutCancel(t.Context()), dir: e.WorkDir, pushed: map[string]registry.Pushed{}, keys: map[string]registry.Key{}}
	e.Values[tellerKey{}] = s
	e.Defer(func() { s.end(t) })
	e.Setenv("IMAGE", world.Image(repo))
	e.Setenv("TANDEM_CONFIG", world.CLIConfig())
	e.Setenv("WORLD", world.Dir())
	e.Setenv("TOKEN", world.Sites[home].TokenFile())
	e.Setenv("NAMESPACE", world.Sites[home].Namespace)
	e.Setenv("PATH", filepath.Dir(g.Program("tandem"))+string(filepath.ListSeparator)+e.Getenv("PATH"))
	return nil
}

func readOptions(path string) (env.Options, error) {
	options := env.Options{Sites: []string{home}}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return options, nil
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[0] == "remote" && words[1] == "ssh":
			options.Remote = env.SSH
		case len(words) == 2 && words[0] == "commits" && words[1] == "api":
			options.GitHub = true
		case len(words) == 2 && words[0] == "objects" && words[1] == "sha256":
			options.SHA256 = true
		case len(words) == 2 && words[0] == "enroll":
			if options.Enroll, err = time.ParseDuration(words[1]); err != nil {
				return options, fmt.Errorf("world: %w", err)
			}
		case len(words) > 1 && words[0] == "queries":
			options.Queries = slices.DeleteFunc(words[1:], func(word string) bool { return word == "none" })
		case len(words) == 1 && words[0] == "wide":
			options.Wide = true
		case len(words) > 1 && words[0] == "branches":
			options.Branches = words[1:]
		case len(words) > 1 && words[0] == "sites":
			options.Sites = words[1:]
		default:
			return options, fmt.Errorf("world: %q means nothing", line)
		}
	}
	return options, err
}

// end closes the world. When the story failed it shows the end of what the agents logged.
func (s *Teller) end(t *testing.T) {
	if t.Failed() {
		agents := []*env.Agent{s.World.Automator}
		for _, name := range slices.Sorted(maps.Keys(s.World.Sites)) {
			agents = append(agents, s.World.Sites[name].Synchronizer)
		}
		for _, agent := range agents {
			log, _ := os.ReadFile(agent.Log())
			t.Logf("%s ends with:\n%s", agent.Log(), log[max(0, len(log)-4000):])
		}
	}
	if s.silence != nil {
		s.silence()
	}
	if err := s.World.Close(); err != nil {
		t.Error(err)
	}
}

func of(ts *testscript.TestScript) *Teller {
	s, ok := ts.Value(tellerKey{}).(*Teller)
	if !ok {
		ts.Fatalf("this script has no world")
	}
	return s
}

// Deploy pushes the sample application's image and commits its files, signed by a person.
func (s *Teller) deploy(site, tag string) error {
	pushed, err := s.World.Registry.Push(s.ctx, repo, tag, registry.Image{})
	if err != nil {
		return err
	}
	s.pushed[tag] = pushed
	files, err := s.World.Sample(site, pushed.Reference())
	if err != nil {
		return err
	}
	maps.Copy(files, s.overlay())
	_, err = s.World.Commit(s.ctx, gitserver.Change{Files: files, Message: "Seed", Author: "Ada <ada@example.com>", Signer: s.World.Human})
	return err
}

// overlay are the files below seed/ in the script, which replace those of the sample.
func (s *Teller) overlay() map[string]string {
	files := map[string]string{}
	root := filepath.Join(s.dir, "seed")
	_ = filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil //nolint:nilerr // most stories have none
		}
		content, err := os.ReadFile(path) //nolint:gosec // the script's own folder
		name, _ := filepath.Rel(root, path)
		files[filepath.ToSlash(name)] = s.expand(string(content))
		return err
	})
	return files
}

// expand fills the world's names into a file of the script.
func (s *Teller) expand(text string) string {
	places := []string{"${IMAGE}", s.World.Image(repo), "${NAMESPACE}", s.World.Sites[home].Namespace, "${SILENT}", s.silent}
	for tag, pushed := range s.pushed {
		places = append(places, "${REFERENCE_"+tag+"}", pushed.Reference())
	}
	return strings.NewReplacer(places...).Replace(s.keyPlaces(text))
}

// agent returns an agent by the words of a command: automator, or synchronizer with a site.
func (s *Teller) agent(ts *testscript.TestScript, args []string) *env.Agent {
	if len(args) > 0 && args[0] == "automator" {
		return s.World.Automator
	}
	site := home
	if len(args) > 1 {
		site = args[1]
	}
	at, ok := s.World.Sites[site]
	if len(args) == 0 || args[0] != "synchronizer" || !ok {
		ts.Fatalf("%q names no agent: automator, or synchronizer [SITE]", args)
	}
	return at.Synchronizer
}
