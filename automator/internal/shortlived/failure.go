package shortlived

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"

	"github.com/tandem-cd/tandem/shared/fault"
)

// ErrUnheard is in the errors of an issue in which the issuer itself said nothing: something else answered, or what it takes to
// ask is not to be had. Whatever their kind, they end nothing.
var ErrUnheard = errors.New("the issuer itself said nothing")

// Unheard has an error be ErrUnheard too, in the same words.
func Unheard(err error) error { return unheard{err} }

type unheard struct{ error }

func (u unheard) Unwrap() []error { return []error{u.error, ErrUnheard} }

// KindOfStatus returns what an issuer's answer in HTTP that says no means: Unavailable where it may say yes by itself later,
// else Unauthorized.
func KindOfStatus(code int) fault.Kind {
	if code == http.StatusTooManyRequests || code >= http.StatusInternalServerError {
		return fault.Unavailable
	}
	return fault.Unauthorized
}

// Unanswered gives a request to an issuer that failed without an answer its kind: Unavailable, unless its error has a kind
// already or says that one side does not trust the other, which no waiting mends.
func Unanswered(err error) error {
	if fault.KindOf(err) != fault.Internal || distrusted(err) {
		return err
	}
	return fault.Wrap(fault.Unavailable, err)
}

// distrusted tells whether a connection failed by what one side showed the other, or is no TLS at all.
func distrusted(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "remote error" || op.Op == "local error") // alerts of crypto/tls
}

// kindOf is what a caller can do about credentials that could not be issued.
func kindOf(err error) fault.Kind {
	if fault.Is(err, fault.Unavailable) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Unavailable
	}
	return fault.Unauthorized
}
