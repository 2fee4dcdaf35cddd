package traces

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/zap"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

const (
	// sendTimeout bounds one sending.
	sendTimeout = 10 * time.Second
	// maxAge is how old an event may be that is still sent: after a collector was away, what is new comes first.
	maxAge = 5 * time.Minute
	// maxReached bounds how many events of one Sync about one commit are looked at.
	maxReached = 100

	scope = "github.com/tandem-cd/tandem"
)

// Config says where traces go.
type Config struct {
	// Endpoint is a collector that takes OTLP by gRPC: http://host:4317, or https://. Empty sends nothing. Headers,
	// certificates and compression are read from OpenTelemetry's own variables, OTEL_EXPORTER_OTLP_*.
	Endpoint string `yaml:"endpoint"`
}

// Validate checks the endpoint.
func (c Config) Validate() error {
	if c.Endpoint == "" {
		return nil
	}
	endpoint, err := url.Parse(c.Endpoint)
	if err != nil || endpoint.Host == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" {
		return errors.New("traces.endpoint is not of the form http://host:4317 or https://host:4317")
	}
	return nil
}

// Log is the event log.
type Log interface {
	// ListEvents returns the newest matching events, newest first.
	ListEvents(ctx context.Context, filter *statusv1.EventFilter, size int, token string) ([]*statusv1.Event, string, error)
	// WatchEvents calls fn for each event from now on.
	WatchEvents(ctx context.Context, filter *statusv1.EventFilter, fn func(*statusv1.Event) error) error
}

// Sender sends the traces of releases as they happen. Nothing waits for it: it reads the log on its own, and what cannot
// be sent is counted and forgotten.
type Sender struct {
	on      bool
	log     Log
	client  otlptrace.Client
	zap     *zap.Logger
	sent    *prometheus.CounterVec
	lost    *prometheus.CounterVec
	version string
	failing bool // as it was told last
}

// New returns a sender. It connects to nobody yet, and never does without an endpoint.
func New(cfg Config, log Log, version string, logger *zap.Logger, metrics prometheus.Registerer) *Sender {
	m := meter.New(metrics)
	return &Sender{
		on: cfg.Endpoint != "", log: log, client: otlptracegrpc.NewClient(otlptracegrpc.WithEndpointURL(cfg.Endpoint)), zap: logger, version: version,
		sent: m.Counter("tandem_automator_traces_spans_total", "Spans of releases that a collector took."),
		lost: m.Counter("tandem_automator_traces_lost_spans_total", "Spans of releases that no collector took."),
	}
}

// Run sends until the context is done.
func (s *Sender) Run(ctx context.Context) error {
	if !s.on {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := s.client.Start(ctx); err != nil {
		return fmt.Errorf("traces: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
		defer cancel()
		_ = s.client.Stop(ctx) // there is nothing left to send
	}()
	return s.log.WatchEvents(ctx, &statusv1.EventFilter{}, func(event *statusv1.Event) error {
		spans, err := s.spans(ctx, event)
		if err != nil {
			return err
		}
		s.send(ctx, spans)
		return ctx.Err()
	})
}

// spans returns what an event completes; nothing as a rule.
func (s *Sender) spans(ctx context.Context, event *statusv1.Event) ([]*tracepb.Span, error) {
	commit := commitOf(event)
	switch {
	case commit == "" || time.Since(event.GetTime().AsTime()) > maxAge:
		return nil, nil
	case event.GetState() == statusv1.EventState_EVENT_STATE_COMMITTED:
		detected, err := s.detected(ctx, event)
		return []*tracepb.Span{release(event, detected)}, err
	case isLast(event.GetState()):
		reached, err := s.reached(ctx, event, commit)
		return deploy(reached, event), err
	default:
		return nil, nil
	}
}

// detected returns the detections of the images that were committed.
func (s *Sender) detected(ctx context.Context, committed *statusv1.Event) ([]*statusv1.Event, error) {
	var all []*statusv1.Event
	for _, image := range committed.GetImages() {
		events, _, err := s.log.ListEvents(ctx, &statusv1.EventFilter{
			Digest: image.GetDigest(), States: []statusv1.EventState{statusv1.EventState_EVENT_STATE_DETECTED},
		}, 1, "")
		if err != nil {
			return nil, err
		}
		all = append(all, events...)
	}
	return all, nil
}

// reached returns what a Sync told about a commit, and when its cluster was told of it.
func (s *Sender) reached(ctx context.Context, last *statusv1.Event, commit string) ([]*statusv1.Event, error) {
	announced, _, err := s.log.ListEvents(ctx, &statusv1.EventFilter{
		Cluster: last.GetCluster(), Commit: commit, States: []statusv1.EventState{statusv1.EventState_EVENT_STATE_ANNOUNCED},
	}, maxReached, "")
	if err != nil {
		return nil, err
	}
	told, _, err := s.log.ListEvents(ctx, &statusv1.EventFilter{
		Cluster: last.GetCluster(), SyncNamespace: last.GetSyncNamespace(), SyncName: last.GetSyncName(), Commit: commit,
	}, maxReached, "")
	return append(announced, told...), err
}

func (s *Sender) send(ctx context.Context, spans []*tracepb.Span) {
	if len(spans) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := s.client.UploadTraces(ctx, []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
			{Key: "service.name", Value: text("tandem")}, {Key: "service.version", Value: text(s.version)},
		}},
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: scope, Version: s.version}, Spans: spans}},
	}})
	counter := s.sent
	if err != nil {
		counter = s.lost
	}
	counter.WithLabelValues().Add(float64(len(spans)))
	if failing := err != nil; failing != s.failing { // once for each change, not for each span
		s.failing = failing
		s.zap.Warn("collector of traces", zap.Bool("failing", failing), zap.Error(err))
	}
}
