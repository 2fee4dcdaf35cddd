// Package chaos tells stories of trouble: networks that cut and delay, processes that are killed between any two steps,
// disks that are full, hosts and registries that lie. Each ends with the same question, whether everything is as if
// nothing had happened, and with the time that this took.
//
//	report, err := chaos.Run(ctx, chaos.Options{Stories: chaos.Stories(), Say: say})
//
// Trouble is made from outside, with what a network, an operator or a host can do: see the packages cut, registry and
// gitserver of the environment. Nothing of the agents knows that it is under test.
//
// Whether everything is well is decided in one place for all stories. Gathering is apart from judging: Facts are what Git,
// the event log, the API server and the process table say; judge is pure, and its tests show that it can fail.
package chaos
