// Package access decides who may ask this cluster's synchronizer for status: the API server knows callers by their
// token (TokenReview) and says what they may see (SubjectAccessReview: get syncs.tandem.dev).
//
// Answers are remembered for a short while, so that a dashboard which asks every second costs the API server little.
package access

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
)

const (
	// allowedFor is how long a yes is remembered: how long a revoked token may still be served.
	allowedFor = 30 * time.Second
	// deniedFor is how long a no is remembered: how long somebody who was just allowed may have to wait.
	deniedFor = 5 * time.Second
	// maxRemembered bounds what is remembered.
	maxRemembered = 4096
	// maxToken bounds a token, in bytes.
	maxToken = 16 << 10
)

var (
	tokenReviews  = schema.GroupVersionResource{Group: "authentication.k8s.io", Version: "v1", Resource: "tokenreviews"}        //nolint:gochecknoglobals // a constant
	accessReviews = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "subjectaccessreviews"} //nolint:gochecknoglobals // a constant
)

// Checker asks the API server who callers are and what they may see.
type Checker struct {
	client dynamic.Interface
	mu     sync.Mutex
	known  map[string]answer
}

// answer is what the API server said, and until when it counts.
type answer struct {
	identity rpc.Identity
	err      error
	until    time.Time
}

// New returns a checker that asks as the synchronizer.
func New(client dynamic.Interface) *Checker {
	return &Checker{client: client, known: map[string]answer{}}
}

// Identify finds out whose bearer token a call carries.
func (c *Checker) Identify(ctx context.Context) (rpc.Identity, error) {
	token, err := bearer(ctx)
	if err != nil {
		return rpc.Identity{}, err
	}
	sum := sha256.Sum256([]byte(token)) // tokens are not kept
	return c.remembered("token "+string(sum[:]), func() (rpc.Identity, error) { return c.review(ctx, token) })
}

func bearer(ctx context.Context) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return "", fault.New(fault.Unauthorized, "no bearer token; give one of this cluster, such as `kubectl create token ACCOUNT` prints")
	}
	token, ok := strings.CutPrefix(values[0], "Bearer ")
	if !ok || token == "" || len(token) > maxToken {
		return "", fault.New(fault.Unauthorized, "the authorization header holds no bearer token")
	}
	return token, nil
}

func (c *Checker) review(ctx context.Context, token string) (rpc.Identity, error) {
	status, err := c.ask(ctx, tokenReviews, "TokenReview", map[string]any{"token": token})
	if err != nil {
		return rpc.Identity{}, fmt.Errorf("review token: %w", err)
	}
	if authenticated, _, _ := unstructured.NestedBool(status, "authenticated"); !authenticated {
		return rpc.Identity{}, fault.New(fault.Unauthorized, "the token is not one of this cluster, or has expired")
	}
	name, _, _ := unstructured.NestedString(status, "user", "username")
	groups, _, _ := unstructured.NestedStringSlice(status, "user", "groups")
	return rpc.Identity{Role: rpc.RoleUser, Name: name, Groups: groups}, nil
}

// See reports whether the caller may see the Syncs of a namespace; "" is all namespaces.
func (c *Checker) See(ctx context.Context, namespace string) error { return c.get(ctx, namespace, "") }

// SeeContents reports whether the caller may see contents of the objects of a namespace's Syncs: get syncs/diff.
func (c *Checker) SeeContents(ctx context.Context, namespace string) error {
	return c.get(ctx, namespace, "diff")
}

// get reports whether the caller may get Syncs, or a subresource of them.
func (c *Checker) get(ctx context.Context, namespace, subresource string) error {
	caller, ok := rpc.Caller(ctx)
	if !ok {
		return fault.New(fault.Unauthorized, "the caller is not known")
	}
	_, err := c.remembered(fmt.Sprintf("get %q %q %q %q", caller.Name, caller.Groups, namespace, subresource), func() (rpc.Identity, error) {
		return caller, c.authorize(ctx, caller, namespace, subresource)
	})
	return err
}

func (c *Checker) authorize(ctx context.Context, caller rpc.Identity, namespace, subresource string) error {
	groups := make([]any, 0, len(caller.Groups))
	for _, g := range caller.Groups {
		groups = append(groups, g)
	}
	status, err := c.ask(ctx, accessReviews, "SubjectAccessReview", map[string]any{
		"user": caller.Name, "groups": groups,
		"resourceAttributes": map[string]any{"verb": "get", "group": v1alpha1.Group, "resource": v1alpha1.Resource, "subresource": subresource, "namespace": namespace},
	})
	if err != nil {
		return fmt.Errorf("review access: %w", err)
	}
	if allowed, _, _ := unstructured.NestedBool(status, "allowed"); allowed {
		return nil
	}
	where := "any namespace; ask for one that you may see with --namespace"
	if namespace != "" {
		where = fmt.Sprintf("namespace %q", namespace)
	}
	what := v1alpha1.Resource + "." + v1alpha1.Group
	if subresource != "" {
		what = fmt.Sprintf("%s/%s, which shows contents of objects,", what, subresource)
	}
	return fault.New(fault.Unauthorized, "%s may not get %s in %s", caller.Name, what, where)
}

// ask has the API server judge a review and returns its status.
func (c *Checker) ask(ctx context.Context, resource schema.GroupVersionResource, kind string, spec map[string]any) (map[string]any, error) {
	review := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": resource.GroupVersion().String(), "kind": kind, "spec": spec, "metadata": map[string]any{},
	}}
	answered, err := c.client.Resource(resource).Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	status, _ := answered.Object["status"].(map[string]any)
	return status, nil
}

// remembered returns the answer to a question, asked again when it has become old. An answer that could not be had is
// not remembered.
func (c *Checker) remembered(question string, ask func() (rpc.Identity, error)) (rpc.Identity, error) {
	c.mu.Lock()
	known, ok := c.known[question]
	c.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.identity, known.err
	}
	identity, err := ask()
	keep := allowedFor
	switch {
	case fault.Is(err, fault.Unauthorized):
		keep = deniedFor
	case err != nil:
		return identity, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxRemembered {
		clear(c.known)
	}
	c.known[question] = answer{identity: identity, err: err, until: time.Now().Add(keep)}
	return identity, err
}
