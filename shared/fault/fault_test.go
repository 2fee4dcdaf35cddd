package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tandem-cd/tandem/shared/fault"
)

func TestKindSurvivesWrappingAndTheWire(t *testing.T) {
	t.Parallel()
	kinds := []fault.Kind{
		fault.Internal, fault.Invalid, fault.NotFound, fault.Conflict, fault.Unauthorized, fault.Stale, fault.Unavailable,
	}
	for _, kind := range kinds {
		err := fmt.Errorf("outer: %w", fault.New(kind, "inner %d", 7))
		if got := fault.KindOf(err); got != kind {
			t.Errorf("KindOf(wrapped %v): got %v", kind, got)
		}
		back := fault.FromStatus(fault.ToStatus(err))
		if got := fault.KindOf(back); got != kind {
			t.Errorf("round trip of %v: got %v", kind, got)
		}
		if back.Error() != err.Error() {
			t.Errorf("round trip of %v: message %q, want %q", kind, back, err)
		}
	}
}

func TestAPeersCodeIsAKindButNeverUnavailable(t *testing.T) {
	t.Parallel()
	for _, kind := range []fault.Kind{fault.Invalid, fault.NotFound, fault.Conflict, fault.Unauthorized, fault.Stale, fault.Internal} {
		if got := fault.KindOfStatus(fault.Code(fault.New(kind, "inner"))); got != kind {
			t.Errorf("round trip of %v: got %v", kind, got)
		}
	}
	for _, code := range []int32{int32(codes.Unavailable), -1, 1 << 30} {
		if got := fault.KindOfStatus(code); got != fault.Internal {
			t.Errorf("KindOfStatus(%d): got %v, want Internal", code, got)
		}
	}
}

func TestContextErrorsStayContextErrors(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		back := fault.FromStatus(fault.ToStatus(fmt.Errorf("wait: %w", cause)))
		if !errors.Is(back, cause) {
			t.Errorf("round trip of %v: got %v", cause, back)
		}
	}
}

func TestPlainErrorsAreInternal(t *testing.T) {
	t.Parallel()
	if got := status.Code(fault.ToStatus(errors.New("boom"))); got != codes.Internal {
		t.Errorf("ToStatus(plain): got %v, want Internal", got)
	}
	if fault.Is(nil, fault.Internal) {
		t.Error("Is(nil, Internal): got true")
	}
}

func TestStatusDetailsStayReadable(t *testing.T) {
	t.Parallel()
	st := status.New(codes.FailedPrecondition, "history was rewritten")
	back := fault.FromStatus(st.Err())
	if got, ok := status.FromError(back); !ok || got.Message() != st.Message() {
		t.Errorf("FromError(FromStatus(st)): got %v, %v", got, ok)
	}
}
