package shortlived_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
)

func TestKindOfStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]fault.Kind{
		http.StatusBadRequest: fault.Unauthorized, http.StatusForbidden: fault.Unauthorized, http.StatusNotFound: fault.Unauthorized,
		http.StatusTooManyRequests: fault.Unavailable, http.StatusInternalServerError: fault.Unavailable, http.StatusServiceUnavailable: fault.Unavailable,
	} {
		if got := shortlived.KindOfStatus(status); got != want {
			t.Errorf("KindOfStatus(%d) = %s, want %s", status, got, want)
		}
	}
}

func TestUnanswered(t *testing.T) {
	t.Parallel()
	sent := func(err error) error { return &url.Error{Op: "Get", URL: "https://vault.test", Err: err} }
	tests := map[string]struct {
		err  error
		want fault.Kind
	}{
		"NobodyListens": {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, fault.Unavailable},
		"NoSuchName":    {&net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}, fault.Unavailable},
		"BrokenOff":     {io.ErrUnexpectedEOF, fault.Unavailable},
		"TooSlow":       {context.DeadlineExceeded, fault.Unavailable},
		"Certificate":   {&tls.CertificateVerificationError{Err: errors.New("unknown authority")}, fault.Internal},
		"NoTLS":         {fmt.Errorf("x: %w", http.ErrSchemeMismatch), fault.Internal},
		"Alert":         {&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, fault.Internal},
		"OurRefusal":    {fault.New(fault.Unauthorized, "not followed"), fault.Unauthorized},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := shortlived.Unanswered(sent(tc.err)); fault.KindOf(got) != tc.want || got.Error() != sent(tc.err).Error() {
				t.Errorf("Unanswered(%v) = %v of kind %s, want %s", tc.err, got, fault.KindOf(got), tc.want)
			}
		})
	}
}
