package admin_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/shared/telemetry/admin"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	var notReady error
	handler := admin.Handler(admin.Config{Ready: func() error { return notReady }, Metrics: telemetry.NewMetrics("tandem_test", "1.2.3")})
	ask := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if got := ask(path); got.Code != http.StatusOK {
			t.Errorf("GET %s: got %d", path, got.Code)
		}
	}
	if got := ask("/metrics").Body.String(); !strings.Contains(got, `tandem_test_build_info{go_version="`+runtime.Version()+`",version="1.2.3"} 1`) {
		t.Errorf("GET /metrics: got %s", got)
	}
	notReady = errors.New("still fetching")
	if got := ask("/readyz"); got.Code != http.StatusServiceUnavailable || !strings.Contains(got.Body.String(), "still fetching") {
		t.Errorf("GET /readyz while not ready: got %d %q", got.Code, got.Body)
	}
}
