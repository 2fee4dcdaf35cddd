// Package logtest gives tests a logger whose lines they can look at.
package logtest

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// New returns a logger at debug level and what it has logged. The lines are printed when the test fails.
func New(t testing.TB) (*zap.Logger, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, entry := range logs.All() {
			t.Logf("%s %s %v", entry.Level, entry.Message, entry.ContextMap())
		}
	})
	return zap.New(core), logs
}
