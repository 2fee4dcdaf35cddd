// Package relaybench measures the relay of one automator with a crowd of synchronizers, beside a bare gRPC health watch
// with as many clients on the same machine in the same run.
//
// The automator is its real binary, in a process of its own: its memory is what the kernel says of that process. The
// synchronizers are fakes, and named so: they speak Follow, Fetch and Report over mutual TLS 1.3 with the real ones'
// keepalive, heartbeats, windows and backoff, each on a connection of its own, but they throw away what they fetch and
// have no cluster behind them. Both sides and Git share the machine's cores, as do baseline and its clients.
package relaybench
