package syncs

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

const (
	// recordRate and recordBurst are how many Events are written a second and in a burst.
	recordRate  = 25
	recordBurst = 100
	// yield is how long an Event waits while there is more important work, looked at every yieldLook. Events are told to
	// people: when a commit moves a thousand Syncs, what the Syncs are made of goes first.
	yield, yieldLook = time.Second, 50 * time.Millisecond
	// maxUnrecorded bounds the Events that wait to be written. Further ones are lost, as is said in a metric.
	maxUnrecorded = 4096
	// lastEvents is for how long an ending process goes on writing those that wait.
	lastEvents = 2 * time.Second
)

// Recorder writes Kubernetes Events, one after the other and never in anybody's way. An Event that cannot be written is
// logged and lost: what has to be known is in the Sync's status and in the lifecycle events.
type Recorder struct {
	client *Client
	queue  chan Event
	limit  *rate.Limiter
	busy   func() bool
	result *prometheus.CounterVec
}

// NewRecorder returns a recorder that writes through a client. While busy, Events are written one a second.
func NewRecorder(client *Client, busy func() bool, metrics prometheus.Registerer) *Recorder {
	m := meter.New(metrics)
	r := &Recorder{
		client: client, queue: make(chan Event, maxUnrecorded), limit: rate.NewLimiter(recordRate, recordBurst), busy: busy,
		result: m.Counter("tandem_synchronizer_kubernetes_events_total", "Kubernetes Events about Syncs: written, or lost because writing failed or too many waited.",
			meter.Of("result", written, lost)),
	}
	m.Read("tandem_synchronizer_kubernetes_events_waiting", "Kubernetes Events that wait to be written.", func() float64 { return float64(len(r.queue)) })
	return r
}

// The values of the label result.
const (
	written = "written"
	lost    = "lost"
)

// Record has an Event written soon. It does not block.
func (r *Recorder) Record(event Event) {
	event.Time = time.Now()
	select {
	case r.queue <- event:
	default:
		r.result.WithLabelValues(lost).Inc()
	}
}

// Run writes until the context is done, and what waits then for a moment longer.
func (r *Recorder) Run(ctx context.Context) error {
	for r.limit.Wait(ctx) == nil {
		select {
		case <-ctx.Done():
		case event := <-r.queue:
			r.yield(ctx)
			r.write(context.WithoutCancel(ctx), event)
		}
	}
	last, end := context.WithTimeout(context.WithoutCancel(ctx), lastEvents)
	defer end()
	for last.Err() == nil {
		select {
		case event := <-r.queue:
			r.write(last, event)
		default:
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// yield lets other work go first, for a moment.
func (r *Recorder) yield(ctx context.Context) {
	for end := time.Now().Add(yield); r.busy() && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return
		case <-time.After(yieldLook):
		}
	}
}

// writeTimeout bounds the write of one Event.
const writeTimeout = 10 * time.Second

func (r *Recorder) write(ctx context.Context, event Event) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := r.client.record(ctx, event); err != nil {
		r.client.log.Debug("event not recorded", zap.Error(err))
		r.result.WithLabelValues(lost).Inc()
		return
	}
	r.result.WithLabelValues(written).Inc()
}
