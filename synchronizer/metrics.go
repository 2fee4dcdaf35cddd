package synchronizer

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/telemetry/meter"
)

const (
	// maxMeasured bounds the Syncs that have metrics of their own; the first ones by name have.
	maxMeasured = 1000
	// measureEvery is how often at most the object store is measured, which reads its folders.
	measureEvery = time.Minute
)

// measure makes the metrics of what no package knows alone: the Syncs, the object store and the certificates.
func (s *Synchronizer) measure() {
	m := meter.New(s.metrics)
	s.measureSyncs(m)
	size := &storeSize{of: s.store.Size}
	m.Read("tandem_synchronizer_store_objects", "Git objects on disk, measured once a minute.", func() float64 { count, _ := size.get(); return float64(count) })
	m.Read("tandem_synchronizer_store_bytes", "Bytes of Git objects on disk, measured once a minute.", func() float64 { _, bytes := size.get(); return float64(bytes) })
	m.Collect("tandem_synchronizer_certificate_expiry_timestamp_seconds", "When certificates end; the CA's first one, if there are several.", []string{"use"},
		func(set func(float64, ...string)) {
			for use, at := range s.expiries() {
				set(float64(at.Unix()), use)
			}
		})
}

// expiries returns when certificates end, by their use. Those that cannot be read are left out.
func (s *Synchronizer) expiries() map[string]time.Time {
	ends := map[string]time.Time{}
	files := s.cfg.Automator.TLS
	for use, file := range map[string]string{"cluster": files.Cert, "ca": files.CA, "status": s.cfg.Status.TLS.Cert} {
		if at, err := rpc.Expiry(file); err == nil {
			ends[use] = at
		}
	}
	if s.keeper == nil {
		return ends
	}
	own, authorities := s.keeper.Certificates()
	if own != nil && len(authorities) > 0 {
		ends["cluster"], ends["ca"] = own.NotAfter, authorities[0].NotAfter
	}
	return ends
}

// measureSyncs makes the metrics of each Sync.
func (s *Synchronizer) measureSyncs(m meter.Meter) {
	each := func(value func(sync *statusv1.Sync, set func(float64, ...string))) func(func(float64, ...string)) {
		return func(set func(float64, ...string)) {
			if !s.leads() {
				return // whoever works shows them
			}
			syncs := slices.DeleteFunc(s.fleet.Syncs(nil), func(sync *statusv1.Sync) bool { return !s.owns(sync.GetNamespace(), sync.GetName()) })
			for _, sync := range syncs[:min(len(syncs), maxMeasured)] {
				value(sync, func(v float64, labels ...string) {
					set(v, append([]string{sync.GetNamespace(), sync.GetName()}, labels...)...)
				})
			}
		}
	}
	m.Collect("tandem_synchronizer_sync_state", "Always 1; the label says what state a Sync is in. At most 1000 Syncs are shown.",
		[]string{"namespace", "name", "state"}, each(func(sync *statusv1.Sync, set func(float64, ...string)) {
			set(1, strings.ToLower(strings.TrimPrefix(sync.GetState().String(), "SYNC_STATE_")))
		}))
	m.Collect("tandem_synchronizer_sync_problems", "What is wrong with a Sync; its status lists it.",
		[]string{"namespace", "name"}, each(func(sync *statusv1.Sync, set func(float64, ...string)) {
			set(float64(len(sync.GetProblems())))
		}))
	m.Collect("tandem_synchronizer_sync_objects", "Objects of a Sync, by health.",
		[]string{"namespace", "name", "health"}, each(func(sync *statusv1.Sync, set func(float64, ...string)) {
			counts := sync.GetObjects()
			set(float64(counts.GetCurrent()), "current")
			set(float64(counts.GetInProgress()), "in_progress")
			set(float64(counts.GetFailed()), "failed")
		}))
	m.Collect("tandem_synchronizer_sync_applied_timestamp_seconds", "When the content that a Sync runs was applied.",
		[]string{"namespace", "name"}, each(func(sync *statusv1.Sync, set func(float64, ...string)) {
			if at := sync.GetApplied().GetTime(); at != nil {
				set(float64(at.AsTime().UnixMilli()) / 1000)
			}
		}))
}

// storeSize remembers the size of a store for a while.
type storeSize struct {
	of func() (int, int64)

	mu    sync.Mutex
	at    time.Time
	count int
	bytes int64
}

func (s *storeSize) get() (count int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) > measureEvery {
		s.count, s.bytes = s.of()
		s.at = time.Now()
	}
	return s.count, s.bytes
}

// apiMetrics count the requests to the API server: a converged cluster sends none.
type apiMetrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newAPIMetrics(registerer prometheus.Registerer) *apiMetrics {
	m := meter.New(registerer)
	return &apiMetrics{
		requests: m.Counter("tandem_synchronizer_api_requests_total", "Requests to the API server, by verb and status; error for no answer.",
			meter.Any("verb"), meter.Any("code")),
		seconds: m.Histogram("tandem_synchronizer_api_request_seconds", "How long the API server takes to answer; of watches, until they begin.", meter.Any("verb")),
	}
}

// wrap returns a transport that counts.
func (m *apiMetrics) wrap(inner http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		began, verb := time.Now(), verbOf(req)
		resp, err := inner.RoundTrip(req)
		m.seconds.WithLabelValues(verb).Observe(time.Since(began).Seconds())
		code := "error"
		if err == nil {
			code = strconv.Itoa(resp.StatusCode)
		}
		m.requests.WithLabelValues(verb, code).Inc()
		return resp, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip sends a request.
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// verbOf names what a request does, in the words of RBAC where HTTP tells.
func verbOf(req *http.Request) string {
	switch req.Method {
	case http.MethodGet:
		if req.URL.Query().Get("watch") != "" {
			return "watch"
		}
		return "get"
	case http.MethodPatch:
		if req.Header.Get("Content-Type") == string(types.ApplyYAMLPatchType) {
			return "apply"
		}
		return "patch"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodDelete:
		return "delete"
	default:
		return meter.Other
	}
}
