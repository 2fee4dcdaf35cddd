package apply

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/synchronizer/internal/plan"
)

// rbacDenies is how RBAC says no, and nothing else does.
var rbacDenies = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]*)" in API group "([^"]*)"`)

// forbidden tells RBAC from admission, which says no by the same status.
func forbidden(s metav1.Status, t *target) (Class, string) {
	if s.Details != nil {
		for _, cause := range s.Details.Causes {
			if cause.Type == corev1.NamespaceTerminatingCause {
				return NoNamespace, fmt.Sprintf("namespace %q is being deleted; tried again once it is gone", t.Key.Namespace)
			}
		}
	}
	if strings.Contains(s.Message, "is attempting to grant RBAC permissions not currently held") {
		return Denied, fmt.Sprintf("service account %s can only grant what it may do itself; give it those permissions, or the verb escalate: %s", t.who, s.Message)
	}
	denied := rbacDenies.FindStringSubmatch(s.Message)
	if denied == nil {
		return Refused, s.Message
	}
	if strings.HasPrefix(denied[2], "impersonate") {
		return Denied, fmt.Sprintf("the synchronizer may not act as service account %s; list namespace %q in its values, which binds it there", t.who, t.who.Namespace)
	}
	return Denied, denial(denied[2], t)
}

// denial says which rule is missing, and where it goes.
func denial(verb string, t *target) string {
	role, where := "ClusterRole", "ClusterRoleBinding"
	scope := "in the whole cluster"
	if t.namespaced {
		role, where = "Role", "RoleBinding"
		scope = fmt.Sprintf("in namespace %q", t.Key.Namespace)
	}
	verbs := `"create", "get", "patch"`
	if t.Action == plan.Delete {
		verbs = `"delete"`
	}
	return fmt.Sprintf("service account %s may not %s %s %s; a %s and %s for it with this rule would allow it: {apiGroups: [%q], resources: [%q], verbs: [%s]}",
		t.who, verb, t.resource.GroupResource(), scope, role, where, t.resource.Group, t.resource.Resource, verbs)
}
