// Package fault names the few kinds of error that callers act on, and maps them to gRPC codes and back.
//
// A kind survives the wire: shared/rpc puts it in the status code and takes it out on the other side. The message
// survives as text; wrapped causes do not. Everything without a kind is Internal.
package fault

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Kind says what a caller can do about an error.
type Kind uint8

// The kinds. A kind exists because some caller branches on it.
const (
	// Internal is a defect, or a part of the machine that failed: nothing the caller can do.
	Internal Kind = iota
	// Invalid is input that will never work: change it.
	Invalid
	// NotFound is something that does not exist, or not any more.
	NotFound
	// Conflict is a state that changed meanwhile: look again and decide anew.
	Conflict
	// Unauthorized is a caller who may not: only a person can change that.
	Unauthorized
	// Stale is a caller whose view is too old to continue from: start over.
	Stale
	// Unavailable is a peer that cannot be reached now: try again later. Only the transport says it; our own code
	// recognises it.
	Unavailable
)

// String returns the kind's name as it stands in logs.
func (k Kind) String() string {
	switch k {
	case Invalid:
		return "invalid"
	case NotFound:
		return "not found"
	case Conflict:
		return "conflict"
	case Unauthorized:
		return "unauthorized"
	case Stale:
		return "stale"
	case Unavailable:
		return "unavailable"
	default:
		return "internal"
	}
}

// kindError is an error with a kind.
type kindError struct {
	kind Kind
	err  error
}

func (e *kindError) Error() string { return e.err.Error() }

func (e *kindError) Unwrap() error { return e.err }

// New returns an error of a kind; format may wrap a cause with %w.
func New(kind Kind, format string, args ...any) error {
	return &kindError{kind: kind, err: fmt.Errorf(format, args...)}
}

// Wrap gives err a kind, and nil for nil. The outermost kind counts.
func Wrap(kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &kindError{kind: kind, err: err}
}

// KindOf returns the kind of err: its own, or what its gRPC status says. It is Internal for nil too; ask only of errors.
func KindOf(err error) Kind {
	if kinded, ok := errors.AsType[*kindError](err); ok {
		return kinded.kind
	}
	if st, ok := status.FromError(err); ok {
		return kindOfCode(st.Code())
	}
	return Internal
}

// Is reports whether err is not nil and of a kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// ToStatus returns err as what a gRPC handler returns. Errors that have a status already and context errors keep theirs.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok && !hasKind(err) {
		return err
	}
	if !hasKind(err) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return status.FromContextError(err).Err()
		}
	}
	return status.Error(codeOf(KindOf(err)), err.Error())
}

// FromStatus returns what a gRPC call failed with as an error of a kind with the peer's message. Context errors of the
// caller stay what they are.
func FromStatus(err error) error {
	if err == nil || hasKind(err) {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch st.Code() {
	case codes.Canceled:
		return fmt.Errorf("%s: %w", st.Message(), context.Canceled)
	case codes.DeadlineExceeded:
		return fmt.Errorf("%s: %w", st.Message(), context.DeadlineExceeded)
	default:
		return &kindError{kind: kindOfCode(st.Code()), err: &statusError{status: st}}
	}
}

// statusError keeps the status of a peer, so that details stay readable, and prints only its message.
type statusError struct{ status *status.Status }

func (e *statusError) Error() string { return e.status.Message() }

// GRPCStatus lets status.FromError find the details.
func (e *statusError) GRPCStatus() *status.Status { return e.status }

func hasKind(err error) bool {
	_, ok := errors.AsType[*kindError](err)
	return ok
}

func codeOf(kind Kind) codes.Code {
	switch kind {
	case Invalid:
		return codes.InvalidArgument
	case NotFound:
		return codes.NotFound
	case Conflict:
		return codes.Aborted
	case Unauthorized:
		return codes.PermissionDenied
	case Stale:
		return codes.FailedPrecondition
	case Unavailable:
		return codes.Unavailable
	default:
		return codes.Internal
	}
}

// KindOfStatus returns the kind that a gRPC status code of a peer stands for. Nobody but the transport says Unavailable.
func KindOfStatus(code int32) Kind {
	kind := kindOfCode(codes.Code(max(code, 0)))
	if kind == Unavailable {
		return Internal
	}
	return kind
}

// Code returns the gRPC status code that stands for an error's kind.
func Code(err error) int32 { return int32(codeOf(KindOf(err))) }

func kindOfCode(code codes.Code) Kind {
	switch code {
	case codes.InvalidArgument, codes.OutOfRange:
		return Invalid
	case codes.NotFound:
		return NotFound
	case codes.Aborted, codes.AlreadyExists:
		return Conflict
	case codes.PermissionDenied, codes.Unauthenticated:
		return Unauthorized
	case codes.FailedPrecondition:
		return Stale
	case codes.Unavailable:
		return Unavailable
	default:
		return Internal
	}
}
