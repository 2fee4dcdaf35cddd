// Package traces shows each release as a trace of OpenTelemetry: from the detection of an image over the commit to every
// Sync that runs it.
//
// A trace is folded from the event log, where the words of both agents are, so that no cluster needs a way to a collector.
// Its ids follow from the commit: whoever knows a commit finds its trace, and what is sent twice is the same.
//
//	release                  detected ─▶ committed
//	└ deploy (of a Sync)     announced ─▶ healthy, failed or refused
//	  ├ receive              announced ─▶ received
//	  ├ verify               received ─▶ verified
//	  ├ apply                verified ─▶ applied
//	  └ roll out             applied ─▶ healthy
package traces
