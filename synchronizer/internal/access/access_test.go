package access_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/metadata"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/synchronizer/internal/access"
	"github.com/tandem-cd/tandem/synchronizer/internal/kubetest"
)

var errBoom = errors.New("boom")

func bearing(ctx context.Context, token string) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+token))
}

func TestAgainstCluster(t *testing.T) {
	t.Parallel()
	config := kubetest.Config(t)
	admin := kubetest.Client(t, config)
	namespace := kubetest.Namespace(t, admin)
	token := kubetest.Token(t, admin, namespace, "reader")
	var asked atomic.Int32
	counted := rest.CopyConfig(config)
	counted.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{next, &asked} })
	checker := access.New(kubetest.Client(t, counted))

	for range 3 {
		who, err := checker.Identify(bearing(t.Context(), token))
		if want := "system:serviceaccount:" + namespace + ":reader"; err != nil || who.Name != want || len(who.Groups) == 0 {
			t.Fatalf("Identify(...): %+v, %v, want %s", who, err, want)
		}
	}
	if asked.Swap(0) != 1 {
		t.Error("the same token was reviewed more than once")
	}
	for range 3 {
		if _, err := checker.Identify(bearing(t.Context(), token+"x")); !fault.Is(err, fault.Unauthorized) {
			t.Fatalf("Identify(forged): %v, want unauthorized", err)
		}
	}
	if asked.Swap(0) != 1 {
		t.Error("the same forged token was reviewed more than once")
	}

	who, err := checker.Identify(bearing(t.Context(), token))
	if err != nil {
		t.Fatal(err)
	}
	caller := rpc.WithCaller(t.Context(), who)
	if err := checker.See(caller, namespace); !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), namespace) {
		t.Errorf("See(%s) before it is allowed: %v", namespace, err)
	}
	allow(t, admin, namespace)
	fresh := access.New(kubetest.Client(t, config)) // which remembers no refusal
	for err = fresh.See(caller, namespace); err != nil; err = fresh.See(caller, namespace) {
		if !fault.Is(err, fault.Unauthorized) {
			t.Fatal(err)
		}
		fresh = access.New(kubetest.Client(t, config)) // until the API server has learnt of the role
	}
	if err := fresh.See(caller, ""); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("See(everything): %v, want unauthorized", err)
	}
}

// allow lets the reader get Syncs in its namespace.
func allow(t *testing.T, admin dynamic.Interface, namespace string) {
	t.Helper()
	rbac := schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
	for resource, text := range map[string]string{
		"roles": `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader}, rules: [{apiGroups: [tandem.dev], resources: [syncs], verbs: [get]}]}`,
		"rolebindings": fmt.Sprintf(`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: reader},
			roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}, subjects: [{kind: ServiceAccount, name: reader, namespace: %s}]}`, namespace),
	} {
		if _, err := admin.Resource(rbac.WithResource(resource)).Namespace(namespace).Create(t.Context(), kubetest.Object(t, text), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

type counter struct {
	next  http.RoundTripper
	asked *atomic.Int32
}

func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.asked.Add(1)
	return c.next.RoundTrip(r)
}

func TestIdentifyWithoutToken(t *testing.T) {
	t.Parallel()
	checker := access.New(nil) // which is not asked
	for name, header := range map[string][]string{
		"None": nil, "Empty": {"authorization", "Bearer "}, "Basic": {"authorization", "Basic eDp5"},
		"Two":  {"authorization", "Bearer a", "authorization", "Bearer b"},
		"Huge": {"authorization", "Bearer " + strings.Repeat("x", 1<<20)},
	} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(header...))
		if _, err := checker.Identify(ctx); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("%s: Identify(...): %v, want unauthorized", name, err)
		}
	}
	if err := checker.See(t.Context(), "shop"); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("See(...) of nobody: %v, want unauthorized", err)
	}
}

// reviewer answers reviews without a cluster, for what needs a clock.
type reviewer struct {
	dynamic.NamespaceableResourceInterface
	asked int
	says  bool
	err   error
}

func (r *reviewer) Resource(schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return r
}

func (r *reviewer) Create(_ context.Context, obj *unstructured.Unstructured, _ metav1.CreateOptions, _ ...string) (*unstructured.Unstructured, error) {
	r.asked++
	answer := obj.DeepCopy()
	answer.Object["status"] = map[string]any{"authenticated": r.says, "allowed": r.says, "user": map[string]any{"username": "jane"}}
	return answer, r.err
}

func TestAnswersGrowOld(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason   string
		says     bool
		remember time.Duration
	}{
		"Yes": {"a revoked token may be served that long", true, 30 * time.Second},
		"No":  {"somebody who was just allowed waits that long", false, 5 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &reviewer{says: tc.says}
				checker := access.New(r)
				ask := func(want int) {
					t.Helper()
					_, _ = checker.Identify(bearing(t.Context(), "token"))
					if r.asked != want {
						t.Errorf("%s: asked %d times, want %d", tc.reason, r.asked, want)
					}
				}
				ask(1)
				time.Sleep(tc.remember - time.Millisecond) //nolint:forbidigo // the bubble's clock
				ask(1)
				time.Sleep(2 * time.Millisecond) //nolint:forbidigo // the bubble's clock
				ask(2)
			})
		})
	}
}

// What could not be asked is no answer.
func TestFailuresAreNotRemembered(t *testing.T) {
	t.Parallel()
	r := &reviewer{says: true, err: errBoom}
	checker := access.New(r)
	if _, err := checker.Identify(bearing(t.Context(), "token")); !errors.Is(err, errBoom) || fault.Is(err, fault.Unauthorized) {
		t.Errorf("Identify(...): %v, want what went wrong", err)
	}
	r.err = nil
	if _, err := checker.Identify(bearing(t.Context(), "token")); err != nil {
		t.Errorf("Identify(...) once it can be asked: %v", err)
	}
}

// The answer for one person, or one namespace, is not another's.
func TestAnswersAreNotMixedUp(t *testing.T) {
	t.Parallel()
	r := &reviewer{says: true}
	checker := access.New(r)
	questions := []struct {
		name      string
		groups    []string
		namespace string
	}{
		{"jane", nil, "shop"},
		{"jane", nil, ""},
		{"joe", nil, "shop"},
		{"jane", []string{"a", "b"}, "shop"},
		{"jane", []string{"a b"}, "shop"},
		{`jane" ["a"`, nil, "shop"},
	}
	for i, q := range questions {
		caller := rpc.WithCaller(t.Context(), rpc.Identity{Name: q.name, Groups: q.groups})
		if err := checker.See(caller, q.namespace); err != nil {
			t.Fatal(err)
		}
		if r.asked != i+1 {
			t.Errorf("%+v was answered by what was said of another", q)
		}
	}
}

// statusOnly allows getting Syncs, and nothing below them.
type statusOnly struct{ reviewer }

func (s *statusOnly) Resource(schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return s
}

func (s *statusOnly) Create(ctx context.Context, obj *unstructured.Unstructured, options metav1.CreateOptions, sub ...string) (*unstructured.Unstructured, error) {
	asked, _, _ := unstructured.NestedString(obj.Object, "spec", "resourceAttributes", "subresource")
	s.says = asked == ""
	return s.reviewer.Create(ctx, obj, options, sub...)
}

func TestContentsAreAPermissionOfTheirOwn(t *testing.T) {
	t.Parallel()
	checker := access.New(&statusOnly{})
	caller := rpc.WithCaller(t.Context(), rpc.Identity{Role: rpc.RoleUser, Name: "jane"})
	if err := checker.See(caller, "shop"); err != nil {
		t.Errorf("See(shop): %v", err)
	}
	if err := checker.SeeContents(caller, "shop"); !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), "syncs.tandem.dev/diff") {
		t.Errorf("SeeContents(shop): %v, want Unauthorized and what is missing", err)
	}
}
