package gitrepo

import "time"

// ReaderPID is the pooled process, for tests that kill it.
func (r *Repo) ReaderPID() int { return r.objects.process.cmd.Process.Pid }

// GitDir is where the mirror lies.
func (r *Repo) GitDir() string { return r.gitDir() }

// Rested notes that a fetch ended which began at a time.
func (r *Repo) Rested(began time.Time) { r.rested(began) }
