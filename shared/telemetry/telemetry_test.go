package telemetry_test

import (
	"testing"

	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/shared/telemetry/logtest"
)

func TestNewLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, cfg := range []telemetry.LogConfig{{Level: "loud"}, {Format: "xml"}} {
		if _, err := telemetry.NewLogger(cfg); err == nil {
			t.Errorf("NewLogger(%+v): got no error", cfg)
		}
	}
	if _, err := telemetry.NewLogger(telemetry.LogConfig{}); err != nil {
		t.Errorf("NewLogger(zero): got %v", err)
	}
}

func TestLogtestObserves(t *testing.T) {
	t.Parallel()
	log, logs := logtest.New(t)
	log.Info("started")
	if logs.FilterMessage("started").Len() != 1 {
		t.Error("FilterMessage(started): got nothing")
	}
}
