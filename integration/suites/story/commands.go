package story

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/integration/env/gitserver"
	"github.com/tandem-cd/tandem/integration/env/registry"
)

type command = func(ts *testscript.TestScript, neg bool, args []string)

// commands are what people and machines do in a story. CONTRIBUTING.md has none of them: their usage is the text of their
// failure.
func commands() map[string]command {
	return map[string]command{
		"seed": do("TAG", 1, seed), "push": do("TAG [CREATED]", 1, push), "commit": do("WHO MESSAGE FILE...", 3, commit),
		"start": do("AGENT [SITE]", 1, start), "stop": do("AGENT [SITE]", 1, stop), "kill9": do("AGENT [SITE]", 1, kill),
		"runs": do("TAG [SITE]", 1, runs), "state": do("SYNC STATE", 2, state), "problem": do("SYNC REGEXP", 2, problem),
		"fine": do("SYNC [PATIENCE]", 1, fine), "pipeline-problem": do("REGEXP", 1, pipelineProblem), "event": do("STATE REGEXP", 2, event),
		"sign":   do("TAG WHO [tag|bundle|PREDICATE-TYPE]", 2, sign),
		"reason": do("REGEXP", 1, reason), "verdict": do("TAG RULE", 2, verdict),
		"commits": do("N", 1, commits), "once": do("", 0, once), "git": do("ARG...", 1, git),
		"kube": do("VERB KIND NAME [ARG...]", 3, kube), "apply": do("FILE", 1, applyFile),
		"objects": do("KIND REGEXP N", 3, objects), "remove": do("KIND REGEXP", 2, remove),
		"hold-push": do("before|after", 1, holdPush), "pass-push": do("", 0, passPush), "refuse-push": do("STATUS", 1, refusePush),
		"hold-api": do("before|after|fetch TAG", 2, holdAPI), "pass-api": do("", 0, passAPI),
		"registry-fails": do("STATUS TIMES", 2, registryFails), "restart-apiserver": do("", 0, restartAPIServer),
		"kill-anywhere": do("ROUNDS SEED", 2, killAnywhere), "renewed": do("[SITE]", 0, renewed), "revoke": do("SITE", 1, revoke), "logged": do("AGENT REGEXP", 2, logged), "replaced": do("FILE WITH", 2, replaced), "configure": do("FILE AGENT [SITE]", 2, configure),
		"asks": do("REGEXP COMMAND ARG...", 2, asks), "propose": do("WHO BRANCH MESSAGE FILE...", 4, propose), "allow-prune": do("SYNC FILE", 2, allowPrune), "damage-mirror": do("FILE", 1, damageMirror), "tidied": do("", 0, tidied),
		"silent-server": do("", 0, silentServer), "lock-branch": do("BRANCH", 1, lockBranch), "unlock-branch": do("BRANCH", 1, unlockBranch),
	}
}

// do makes a command of a function; a command cannot be negated and needs some arguments.
func do(usage string, least int, fn func(s *Teller, ts *testscript.TestScript, args []string) error) command {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < least {
			ts.Fatalf("usage: %s", usage)
		}
		ts.Check(fn(of(ts), ts, args))
	}
}

// seed deploys the sample application for the first time: image, commit and Sync.
func seed(s *Teller, _ *testscript.TestScript, args []string) error {
	if err := s.deploy(home, args[0]); err != nil {
		return err
	}
	return s.World.Sites[home].Apply(s.ctx, env.SampleSyncFor(home))
}

// push pushes a new image under a tag; with a time, the image says that it was made then.
func push(s *Teller, _ *testscript.TestScript, args []string) error {
	image := registry.Image{}
	if len(args) > 1 {
		var err error
		if image.Created, err = time.Parse(time.RFC3339, args[1]); err != nil {
			return err
		}
	}
	pushed, err := s.World.Registry.Push(s.ctx, repo, args[0], image)
	s.pushed[args[0]] = pushed
	return err
}

// commit commits files of the script: human, robot, stranger or nobody signs; "-path" removes.
func commit(s *Teller, ts *testscript.TestScript, args []string) error {
	return commitTo(s, ts, "", args)
}

// propose does the same on a branch that begins at main.
func propose(s *Teller, ts *testscript.TestScript, args []string) error {
	branch := "refs/heads/" + args[1]
	if _, err := s.World.Git.Git(s.ctx, env.Repository, "update-ref", branch, "refs/heads/main"); err != nil {
		return err
	}
	return commitTo(s, ts, branch, append(args[:1:1], args[2:]...))
}

func commitTo(s *Teller, ts *testscript.TestScript, ref string, args []string) error {
	change := gitserver.Change{Ref: ref, Message: strings.ReplaceAll(os.Expand(args[1], ts.Getenv), `\n`, "\n"), Files: map[string]string{}, Author: args[0] + " <" + args[0] + "@example.com>"}
	switch args[0] {
	case "human":
		change.Signer = s.World.Human
	case "robot":
		change.Signer = s.World.Robot
	case "stranger":
		change.Signer = s.World.Stranger
	case "nobody":
	default:
		return fmt.Errorf("%s is neither human, robot, stranger nor nobody", args[0])
	}
	for _, file := range args[2:] {
		if removed, ok := strings.CutPrefix(file, "-"); ok {
			change.Remove = append(change.Remove, removed)
			continue
		}
		from, to, renamed := strings.Cut(file, "=")
		if !renamed {
			to = from
		}
		change.Files[to] = s.expand(ts.ReadFile(from))
	}
	id, err := s.World.Commit(s.ctx, change)
	ts.Setenv("COMMIT", id)
	return err
}

func start(s *Teller, ts *testscript.TestScript, args []string) error {
	return s.agent(ts, args).Start(s.ctx)
}

func stop(s *Teller, ts *testscript.TestScript, args []string) error {
	return s.agent(ts, args).Stop(s.ctx)
}

func kill(s *Teller, ts *testscript.TestScript, args []string) error {
	s.agent(ts, args).Kill()
	return nil
}

// killWithin is how long after a push an agent is killed at the latest: a release takes about as long.
const killWithin = 300 * time.Millisecond

// killAnywhere pushes versions 2.0.0, 2.1.0 and so on, kills an agent at a moment that the seed chooses while each is on its
// way, starts it again, and checks that the version runs and that every step of it is in the log once.
func killAnywhere(s *Teller, ts *testscript.TestScript, args []string) error {
	rounds, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range rounds {
		tag := fmt.Sprintf("2.%d.0", round)
		if err := push(s, ts, []string{tag}); err != nil {
			return err
		}
		moment := time.Duration(random.Int64N(int64(killWithin)))
		agent, name := s.World.Automator, "automator"
		if random.IntN(2) == 0 {
			agent, name = s.World.Sites[home].Synchronizer, "synchronizer"
		}
		<-time.After(moment)
		agent.Kill()
		began := time.Now()
		if err := agent.Start(s.ctx); err != nil {
			return err
		}
		err := errors.Join(runs(s, ts, []string{tag}), once(s, ts, nil))
		ts.Logf("%s: %s killed after %s, converged %s after its start", tag, name, moment.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		if err != nil {
			return err
		}
	}
	return nil
}

// git prints what git says of the repository on the server.
func git(s *Teller, ts *testscript.TestScript, args []string) error {
	out, err := s.World.Git.Git(s.ctx, env.Repository, args...)
	fmt.Fprintln(ts.Stdout(), out)
	return err
}

func applyFile(s *Teller, ts *testscript.TestScript, args []string) error {
	return s.World.Sites[home].Apply(s.ctx, s.expand(ts.ReadFile(args[0])))
}

// holdPush keeps the next push before git has it, or its answer after git accepted it; it returns when one is held... at
// the next pass-push, kill or wait.
func holdPush(s *Teller, _ *testscript.TestScript, args []string) error {
	held := newHold()
	s.hold = held
	gate := func(ctx gateContext, _ string) error { held.keep(ctx); return nil }
	if args[0] == "before" {
		s.World.Git.BeforePush(gate)
	} else {
		s.World.Git.AfterPush(gate)
	}
	if len(args) < 2 {
		return nil
	}
	if err := push(s, nil, args[1:]); err != nil { // hold-push before TAG: pushes the image and waits until the push is held
		return err
	}
	return held.first()
}

// passPush lets pushes through again.
func passPush(s *Teller, _ *testscript.TestScript, _ []string) error {
	s.World.Git.BeforePush(nil)
	s.World.Git.AfterPush(nil)
	s.hold.end()
	return nil
}

// lockBranch has others hold a branch on the server: whoever pushes to it has lost the race.
func lockBranch(s *Teller, _ *testscript.TestScript, args []string) error {
	path, err := s.lockFile(args[0])
	if err != nil {
		return err
	}
	return os.WriteFile(path, nil, 0o600)
}

func unlockBranch(s *Teller, _ *testscript.TestScript, args []string) error {
	path, err := s.lockFile(args[0])
	if err != nil {
		return err
	}
	return os.Remove(path)
}

func (s *Teller) lockFile(branch string) (string, error) {
	dir, err := s.World.Git.Git(s.ctx, env.Repository, "rev-parse", "--absolute-git-dir")
	return filepath.Join(strings.TrimSpace(dir), "refs", "heads", branch+".lock"), err
}

// refusePush has the Git host answer pushes with a status.
func refusePush(s *Teller, _ *testscript.TestScript, args []string) error {
	status, err := strconv.Atoi(args[0])
	s.World.Git.BeforePush(func(gateContext, string) error { return &gitserver.RefusedError{Status: status} })
	return err
}

// registryFails has the registry answer the automator's next requests with a status.
func registryFails(s *Teller, _ *testscript.TestScript, args []string) error {
	status, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(args[1])
	s.World.Registry.Inject(registry.Fault{Match: reads, Times: times, Status: status, RetryAfter: time.Second})
	return err
}

func restartAPIServer(s *Teller, _ *testscript.TestScript, _ []string) error {
	return s.World.Kube.RestartAPIServer(s.ctx)
}

// allowPrune answers the guard for the content id in a file.
func allowPrune(s *Teller, ts *testscript.TestScript, args []string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"tandem.dev/allow-prune":%q}}}`, strings.TrimSpace(ts.ReadFile(args[1])))
	return kube(s, ts, []string{"edit", "syncs", args[0], patch})
}

// damageMirror replaces the blob of a file in the automator's mirror by other content under the same name.
func damageMirror(s *Teller, _ *testscript.TestScript, args []string) error {
	blob, err := s.World.Git.Git(s.ctx, env.Repository, "rev-parse", "main:"+args[0])
	if err != nil {
		return err
	}
	blob = strings.TrimSpace(blob)
	return overwriteObject(s.World.Dir(), blob)
}

// tidied waits until the automator has tidied its mirror up.
func tidied(s *Teller, _ *testscript.TestScript, _ []string) error {
	return s.until(func(context.Context) error {
		_, err := os.Stat(filepath.Join(s.World.Dir(), "automator", "repositories", env.Repository, "mirror.git", "objects", "info", "commit-graphs"))
		return err
	})
}

// overwriteObject writes other content as the loose object of a name into every mirror below a folder.
func overwriteObject(below, id string) error {
	found := 0
	err := filepath.WalkDir(below, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || entry.Name() != "mirror.git" {
			return err
		}
		found++
		return writeLoose(filepath.Join(path, "objects", id[:2], id[2:]))
	})
	if err == nil && found == 0 {
		err = fmt.Errorf("no mirror below %s", below)
	}
	return err
}
