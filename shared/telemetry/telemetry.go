// Package telemetry builds the logger from configuration and names the fields that logs carry.
package telemetry

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Field names. A fact has the same name in every log line of both agents.
const (
	App         = "app"
	Attempt     = "attempt"
	Cluster     = "cluster"
	Commit      = "commit"
	ContentID   = "content_id"
	Trace       = "trace_id"
	Digest      = "digest"
	Duration    = "duration"
	Environment = "environment"
	File        = "file"
	GVK         = "gvk"
	Image       = "image"
	Name        = "name"
	Namespace   = "namespace"
	Object      = "object"
	Peer        = "peer"
	Ref         = "ref"
	Repository  = "repository"
	State       = "state"
	Tag         = "tag"
)

// LogConfig says how logs are written.
type LogConfig struct {
	// Level is debug, info, warn or error; empty means info.
	Level string `yaml:"level"`
	// Format is json or console; empty means json.
	Format string `yaml:"format"`
}

// NewLogger builds a logger that writes to standard error.
func NewLogger(cfg LogConfig) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(orElse(cfg.Level, "info"))
	if err != nil {
		return nil, fmt.Errorf("log.level: %q is not one of debug, info, warn, error", cfg.Level)
	}
	format := orElse(cfg.Format, "json")
	if format != "json" && format != "console" {
		return nil, fmt.Errorf("log.format: %q is not one of json, console", cfg.Format)
	}
	z := zap.NewProductionConfig()
	z.Level = zap.NewAtomicLevelAt(level)
	z.Encoding = format
	z.Sampling = nil // a line that is lost is the one that was needed
	z.DisableStacktrace = true
	z.EncoderConfig.TimeKey = "time"
	z.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	z.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	return z.Build()
}

func orElse(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
