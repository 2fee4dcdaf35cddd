package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// attempt is what was tried, for messages.
type attempt struct {
	as         Identity
	verb       string
	resource   schema.GroupVersionResource
	namespaced bool
	key        object.Key
}

// explain turns the API server's error into what a person can act on. The original stays wrapped.
func explain(err error, a attempt) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: no answer within %s; an admission webhook may be slow or gone: %w", a.key, requestTimeout, err)
	case apierrors.IsForbidden(err):
		return forbidden(err, a)
	case apierrors.IsInvalid(err):
		return fmt.Errorf("%s is invalid: %w", a.key, causes(err))
	case apierrors.IsBadRequest(err):
		return fmt.Errorf("%s was not understood: %w", a.key, trimmed(err))
	case apierrors.IsNotFound(err) && a.key.Namespace != "":
		return fmt.Errorf("%s: namespace %q does not exist; add it to Git, or create it: %w", a.key, a.key.Namespace, err)
	default:
		return fmt.Errorf("%s: %w", a.key, err)
	}
}

// forbidden names the rule that would allow what was tried.
func forbidden(err error, a attempt) error {
	text := err.Error()
	if strings.Contains(text, "cannot impersonate") {
		return fault.New(fault.Unauthorized, "the synchronizer may not act as service account %s; let its role impersonate it: %w", a.as, err)
	}
	if !strings.Contains(text, a.as.User()) {
		return fault.New(fault.Unauthorized, "%s was refused: %w", a.key, err) // an admission plugin or quota, not RBAC
	}
	role, where := "ClusterRole", "a ClusterRoleBinding"
	if a.namespaced {
		role, where = "Role in "+a.key.Namespace, "a RoleBinding in "+a.key.Namespace
	}
	return fault.New(fault.Unauthorized, "%s: service account %s may not %s %s; give it, by a %s and %s, the rule {apiGroups: [%q], resources: [%q], verbs: [create, patch, delete]}: %w",
		a.key, a.as, a.verb, a.resource.GroupResource(), role, where, a.resource.Group, a.resource.Resource, err)
}

// causes lists which fields are wrong, in order.
func causes(err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return err
	}
	var fields []string
	for _, cause := range status.Status().Details.Causes {
		fields = append(fields, strings.TrimPrefix(cause.Field+": "+cause.Message, ": "))
	}
	if len(fields) == 0 {
		return err
	}
	return &described{text: strings.Join(fields, "; "), err: err}
}

// trimmed drops the API server's own prefix, which says "failed to create manager for existing fields" and the like.
func trimmed(err error) error {
	text := err.Error()
	if at := strings.Index(text, "strict decoding error: "); at >= 0 {
		text = text[at+len("strict decoding error: "):]
	}
	return &described{text: text, err: err}
}

// described is an error with clearer words.
type described struct {
	text string
	err  error
}

func (d *described) Error() string { return d.text }

func (d *described) Unwrap() error { return d.err }
