// Package autobench measures the automator between a registry and a Git server, without a cluster: the way of a push to
// its commit, rounds of looks at a thousand image repositories, one with very many tags, one edit in a huge repository,
// and a branch that others push to all the time.
//
// The automator is its real binary in a process of its own: its memory and its processor time are what the kernel says of
// that process, and of git where it says so. The Git server is git http-backend, and the registry is distribution; both
// are real, on loopback, and share the machine with the automator, as do this process and everybody who pushes beside it.
// The automator reaches the registry through [Front], which answers later and refuses what is too much, as a registry far
// away does. The Git server is not slowed down: each push of the automator is compared with a bare `git push` to the same
// server.
package autobench
