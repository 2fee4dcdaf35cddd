package chaos

import (
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func clockStories() []Story {
	return []Story{{
		Name:   "clock-jumps",
		What:   "The agents' clocks jump forward and back while they run, each alone and apart from each other.",
		Before: (*Scene).jumpingClocks,
		Tell:   clockJumps,
	}}
}

// jumpSource is added to package time.
//
//go:embed jump.go.txt
var jumpSource string

const (
	// jumpVariable names the file that holds an agent's jump, in seconds as 8 bytes.
	jumpVariable = "TANDEM_CLOCK_JUMP"
	jumpBytes    = 8

	// clockRead is the line of time.Now that reads the clock.
	clockRead = "sec, nsec, mono := runtimeNow()\n"
)

// jumpingClocks builds the agents with a standard library whose time.Now can be moved from outside, and nothing else
// changed: what they do with such a clock is their own. Their timers run on the monotonic clock, which does not jump, as on
// a machine whose time is set. It shows nothing about git, whose processes have the machine's clock.
func (s *Scene) jumpingClocks() error {
	ctx := context.Background()
	overlay, err := s.overlay(ctx)
	if err != nil {
		return err
	}
	dir, err := s.World.Build(ctx, "bin-jump", "-overlay="+overlay)
	if err != nil {
		return err
	}
	for name, agent := range s.agents() {
		file := filepath.Join(s.World.Dir(), "jump-"+name)
		if err := os.WriteFile(file, make([]byte, jumpBytes), privateMode); err != nil {
			return err
		}
		agent.Replace(filepath.Join(dir, "tandem-"+name), jumpVariable+"="+file)
	}
	return nil
}

// overlay writes what go build takes instead of files of the standard library.
func (s *Scene) overlay(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	source, err := os.ReadFile(filepath.Join(folder, "time.go"))
	if err != nil {
		return "", err
	}
	_, now, found := strings.Cut(string(source), "\nfunc Now() Time {")
	if body, _, _ := strings.Cut(now, "\n}\n"); !found || strings.Count(body, clockRead) != 1 {
		return "", fmt.Errorf("%s: time.Now does not read the clock as it did: mend clockRead", folder)
	}
	at := strings.Index(string(source), "\nfunc Now() Time {")
	changed := string(source[:at]) + strings.Replace(string(source[at:]), clockRead, clockRead+"\tsec += jumped()\n", 1)
	replace := map[string]string{}
	for name, content := range map[string]string{"time.go": changed, "jump.go": jumpSource} {
		path := filepath.Join(s.World.Dir(), "overlay-"+name)
		if err := os.WriteFile(path, []byte(content), privateMode); err != nil {
			return "", err
		}
		replace[filepath.Join(folder, name)] = path
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.World.Dir(), "overlay.json")
	return path, os.WriteFile(path, raw, privateMode)
}

// jump moves the clock of an agent, which sees it at once: it has the file mapped.
func (s *Scene) jump(agent string, by time.Duration) error {
	file, err := os.OpenFile(filepath.Join(s.World.Dir(), "jump-"+agent), os.O_WRONLY, privateMode)
	if err != nil {
		return err
	}
	raw := make([]byte, jumpBytes)
	binary.NativeEndian.PutUint64(raw, uint64(by/time.Second))
	if _, err := file.WriteAt(raw, 0); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

// clockJumps releases while a clock is wrong, and once more when it is right again.
func clockJumps(ctx context.Context, s *Scene) error {
	for _, c := range []struct{ automator, synchronizer time.Duration }{
		{automator: 10 * time.Minute},
		{synchronizer: 10 * time.Minute},
		{automator: -30 * time.Second},
		{synchronizer: -30 * time.Second},
		{automator: 20 * time.Minute, synchronizer: -30 * time.Second},
	} {
		pass, err := committed(ctx, s)
		if err == nil {
			err = s.jumpBoth(c.automator, c.synchronizer)
		}
		pass()
		if err != nil {
			return err
		}
		s.Over()
		if err := s.Converged(ctx, "automator's clock %+.0f s, synchronizer's %+.0f s", c.automator.Seconds(), c.synchronizer.Seconds()); err != nil {
			return err
		}
	}
	for _, by := range []time.Duration{30 * 24 * time.Hour, -30 * 24 * time.Hour} {
		if err := s.jumpBoth(by, by); err != nil {
			return err
		}
		s.Site.Relay.Cut() // certificates are looked at when a connection is made
		if err := s.Release(ctx); err != nil {
			return err
		}
		if err := pause(ctx, fullFor); err != nil {
			return err
		}
		if err := s.jumpBoth(0, 0); err != nil {
			return err
		}
		s.Over()
		if err := s.Converged(ctx, "both clocks were %+.0f days off, and are right again", by.Hours()/24); err != nil {
			return err
		}
	}
	return nil
}

func (s *Scene) jumpBoth(automator, synchronizer time.Duration) error {
	if err := s.jump("automator", automator); err != nil {
		return err
	}
	return s.jump("synchronizer", synchronizer)
}
