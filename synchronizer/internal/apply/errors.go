package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// Class says what a person or the loop can do about an object that was not
// applied or removed.
type Class string

// The classes.
const (
	// Blocked: the step was not tried, since what it stands on failed.
	Blocked Class = "Blocked"
	// Conflict: the object changed all the time, or is on its way out.
	Conflict Class = "Conflict"
	// Denied: RBAC does not allow it; the message has the rule that would.
	Denied Class = "Denied"
	// Invalid: the API server does not accept what Git says.
	Invalid Class = "Invalid"
	// NoNamespace: the namespace does not exist, or is being deleted.
	NoNamespace Class = "NoNamespace"
	// Owned: another Sync owns the object.
	Owned Class = "Owned"
	// Refused: an admission policy, webhook or quota says no.
	Refused Class = "Refused"
	// Unavailable: the API server, or a webhook that it asks, does not answer.
	Unavailable Class = "Unavailable"
	// UnknownKind: the cluster does not serve the kind.
	UnknownKind Class = "UnknownKind"
	// Unexpected is everything else.
	Unexpected Class = "Unexpected"
)

// Temporary reports whether trying again can help although nothing changed in
// Git and nobody does anything in the cluster.
func (c Class) Temporary() bool {
	return c == Conflict || c == Unavailable || c == NoNamespace
}

// Error is why an object was not applied or removed.
type Error struct {
	Key     object.Key
	Class   Class
	Message string // what happened, and what to do about it
	cause   error
}

func (e *Error) Error() string { return e.Key.String() + ": " + e.Message }

func (e *Error) Unwrap() error { return e.cause }

// ClassOf returns the class of a Result's error; empty for nil.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Unexpected
}

func (t *target) failed(class Class, message string, cause error) *Error {
	return &Error{Key: t.Key, Class: class, Message: message, cause: cause}
}

// classify makes an Error of what a request failed with.
func classify(err error, t *target) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	status, ok := statusOf(err)
	switch {
	case ok && isSecret(t.Key):
		class, message := explainSecret(status, t)
		return t.failed(class, message, nil)
	case ok:
		class, message := explain(status, t)
		return t.failed(class, message, err)
	case errors.Is(err, context.DeadlineExceeded):
		return t.failed(Unavailable, "no answer in time; an admission webhook may be slow or gone", err)
	case isSecret(t.Key):
		return t.failed(Unavailable, "the API server cannot be reached, or its answer cannot be read", nil)
	default:
		return t.failed(Unavailable, err.Error(), err)
	}
}

func statusOf(err error) (metav1.Status, bool) {
	var status apierrors.APIStatus // an interface without Error, which errors.AsType cannot be asked for
	if !errors.As(err, &status) {
		return metav1.Status{}, false
	}
	return status.Status(), true
}

func causes(err error) []metav1.StatusCause {
	status, ok := statusOf(err)
	if !ok || status.Details == nil {
		return nil
	}
	return status.Details.Causes
}

var (
	immutable      = regexp.MustCompile(`immutable|updates to .* are forbidden|may not change once set|cannot be changed`)
	webhookSilent  = regexp.MustCompile(`failed calling webhook "([^"]*)"`)
	webhookRefuses = regexp.MustCompile(`admission webhook "[^"]*" denied the request|^ValidatingAdmissionPolicy '|(?:^|: )ValidatingAdmissionPolicy '[^']*' with binding`)
	wrongSchema    = regexp.MustCompile(`^failed to create typed patch object \(.*?\): (?s:(.*))$`)
	goValue        = regexp.MustCompile(`got &value\.valueUnstructured\{(?s:.*)$`)
	unknownField   = regexp.MustCompile(`(\S+): field not declared in schema|unknown field "([^"]*)"`)
)

// explain says in our words what the API server means. The order matters: a
// webhook can answer with any status.
func explain(s metav1.Status, t *target) (Class, string) {
	if hook := webhookSilent.FindStringSubmatch(s.Message); hook != nil {
		return Unavailable, fmt.Sprintf("the admission webhook %q, which the API server must ask, does not answer: %s", hook[1], s.Message)
	}
	if webhookRefuses.MatchString(s.Message) {
		return Refused, s.Message
	}
	if schema := wrongSchema.FindStringSubmatch(s.Message); schema != nil {
		return Invalid, fields(schema[1])
	}
	switch s.Code {
	case http.StatusForbidden:
		return forbidden(s, t)
	case http.StatusNotFound:
		return missing(s, t)
	case http.StatusUnprocessableEntity, http.StatusBadRequest:
		return Invalid, invalid(s)
	case http.StatusConflict:
		return Conflict, "changed while it was applied, again and again"
	case http.StatusRequestEntityTooLarge:
		return Invalid, tooLarge
	case http.StatusMethodNotAllowed:
		return Invalid, fmt.Sprintf("objects of kind %s cannot be written: %s", t.Key.Kind, s.Message)
	}
	switch {
	case strings.Contains(s.Message, "etcdserver: request is too large"), strings.Contains(s.Message, "trying to send message larger than max"):
		return Invalid, tooLarge
	case s.Code == http.StatusTooManyRequests, s.Code >= http.StatusInternalServerError:
		return Unavailable, s.Message
	}
	return Unexpected, s.Message
}

const tooLarge = "is larger than the API server takes, 1.5 MiB as a rule; split it"

// missing explains that something is not there which a write needs.
func missing(s metav1.Status, t *target) (Class, string) {
	if s.Details != nil && s.Details.Kind == "namespaces" && s.Details.Name == t.Key.Namespace {
		return NoNamespace, fmt.Sprintf("namespace %q does not exist; add it to Git or create it", t.Key.Namespace)
	}
	return UnknownKind, fmt.Sprintf("the API server does not serve %s; was its CustomResourceDefinition removed?", t.resource)
}

// invalid lists what is wrong with which field.
func invalid(s metav1.Status) string {
	if s.Details == nil || len(s.Details.Causes) == 0 {
		return fields(s.Message)
	}
	texts := make([]string, len(s.Details.Causes))
	fixed := false
	for i, cause := range s.Details.Causes {
		texts[i] = cause.Field + ": " + withoutValue(cause.Message)
		fixed = fixed || immutable.MatchString(cause.Message)
	}
	message := strings.Join(texts, "; ")
	if fixed {
		message += fmt.Sprintf(" (what cannot be changed in place needs the object deleted, and is then made anew: "+
			"the annotation %s: %s in Git does so; or revert it in Git)", v1alpha1.AnnotationApply, v1alpha1.ApplyRecreate)
	}
	return message
}

// withoutValue leaves out the value that a message repeats, where it is a whole structure as Go prints it. Nobody reads that, and
// it pushes what is wrong out of sight.
func withoutValue(message string) string {
	const most = 200
	value, reason := strings.Index(message, ": {"), strings.LastIndex(message, "}: ")
	if len(message) <= most || value < 0 || reason < value {
		return message
	}
	return message[:value] + " …" + message[reason+1:]
}

// fields explains messages about fields that the kind does not have, or in another type. The value, which is shown as Go
// prints it, is left out: it may be the password in somebody's environment.
func fields(message string) string {
	message = goValue.ReplaceAllString(message, "got a value of another type; quote it if it is text")
	message = strings.Join(strings.Fields(strings.ReplaceAll(message, "\n", "; ")), " ")
	if unknownField.MatchString(message) {
		message += " (misspelt, or not in this version of the kind)"
	}
	return message
}
