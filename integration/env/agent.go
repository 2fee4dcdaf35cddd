package env

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-cd/tandem/integration/env/process"
)

// stopTimeout bounds how long an agent may take to stop when it is asked to.
const stopTimeout = 30 * time.Second

var errRuns = errors.New("runs already")

type agentConfig struct {
	name, program, config, log string
	admin                      string // host:port of /healthz
	debug                      string // host:port of /debug/pprof; empty for none
	env                        []string
}

// Agent is one of the two agents as a child process. Its methods are one
// caller's.
type Agent struct {
	cfg     agentConfig
	process *process.Process // nil when it does not run
}

func newAgent(cfg agentConfig) *Agent { return &Agent{cfg: cfg} }

// Start starts the agent, and returns when it answers.
func (a *Agent) Start(ctx context.Context) (err error) {
	if a.process != nil {
		return fmt.Errorf("%s: %w", a.cfg.name, errRuns)
	}
	a.process, err = process.Start(process.Config{
		Name: a.cfg.name, Log: a.cfg.log, Command: []string{a.cfg.program, "--config", a.cfg.config}, Env: a.cfg.env,
	})
	if err != nil {
		return err
	}
	if err := a.process.Ready(ctx, a.healthy); err != nil {
		a.Kill()
		return err
	}
	return nil
}

func (a *Agent) healthy(ctx context.Context) error {
	_, err := a.Get(ctx, "/healthz")
	return err
}

// Kill ends the agent without warning, as kill -9 does.
func (a *Agent) Kill() {
	a.process.Kill()
	a.process = nil
}

// Stop asks the agent to end, as Kubernetes does, and waits for that.
func (a *Agent) Stop(ctx context.Context) error {
	if a.process == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	err := a.process.Stop(ctx)
	a.process = nil
	return err
}

// Runs tells whether the agent was started, and has not ended by itself.
func (a *Agent) Runs() bool {
	if a.process == nil {
		return false
	}
	select {
	case <-a.process.Done():
		return false
	default:
		return true
	}
}

// ID is the number of the agent's process.
func (a *Agent) ID() int { return a.process.ID() }

// Log is the file that the agent's output goes to.
func (a *Agent) Log() string { return a.cfg.log }

// Replace has later starts run another program, such as one that was built in
// another way, with more environment.
func (a *Agent) Replace(program string, env ...string) { a.cfg.program, a.cfg.env = program, env }

// Config is the agent's configuration file. What is changed in it counts from
// the next start.
func (a *Agent) Config() string { return a.cfg.config }
