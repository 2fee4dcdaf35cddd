package tenancy_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
	"github.com/tandem-cd/tandem/synchronizer/internal/render"
	"github.com/tandem-cd/tandem/synchronizer/internal/tenancy"
)

// rules are as an administrator's file gives them.
func rules(t *testing.T) tenancy.Rules {
	t.Helper()
	r := tenancy.Rules{
		Paths: []tenancy.PathRule{
			{Namespaces: []string{"shop", "blog"}, Repository: "deploy", Paths: []string{"env/shop/", "base"}},
			{Namespaces: []string{"infra"}, Paths: []string{""}},
		},
		Dependencies: []tenancy.DependencyRule{{Namespaces: []string{"shop"}, SyncsOf: []string{"infra"}}},
		Quotas: tenancy.Quotas{
			Quota:      tenancy.Quota{Objects: 3},
			Namespaces: map[string]tenancy.Quota{"shop": {Bytes: 100}, "infra": {Objects: 5}},
		},
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPermit(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason                string
		namespace, repository string
		paths                 []string
		want                  bool
	}{
		"Below":      {"What lies below a path may be used.", "shop", "deploy", []string{"env/shop/web"}, true},
		"Itself":     {"The path itself may.", "blog", "deploy", []string{"env/shop", "base"}, true},
		"OneOfTwo":   {"Path and include must all be allowed.", "shop", "deploy", []string{"env/shop", "env/blog"}, false},
		"Prefix":     {"A name that begins in the same way is another path.", "shop", "deploy", []string{"env/shopping"}, false},
		"Root":       {"The root is above every path.", "shop", "deploy", []string{""}, false},
		"Repository": {"The same path of another repository is another.", "shop", "other", []string{"env/shop"}, false},
		"Any":        {"A rule without a repository is for all of them.", "infra", "other", []string{"x"}, true},
		"Stranger":   {"A namespace in no rule may use nothing.", "evil", "deploy", []string{"env/shop"}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := rules(t).Permit(tc.namespace, revision.Source{Repository: tc.repository, Ref: "refs/heads/main"}, tc.paths)
			if (err == nil) != tc.want || err != nil && !fault.Is(err, fault.Unauthorized) {
				t.Errorf("%s\nPermit(...): got %v", tc.reason, err)
			}
		})
	}
	if err := (tenancy.Rules{}).Permit("evil", revision.Source{}, []string{""}); err != nil {
		t.Errorf("Without rules the grant alone counts; Permit(...): got %v", err)
	}
}

func TestDependOn(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason        string
		namespace, on string
		want          bool
	}{
		"Own":     {"The own namespace needs no rule.", "evil", "evil", true},
		"Allowed": {"A rule allows it.", "shop", "infra", true},
		"Back":    {"A rule goes one way.", "infra", "shop", false},
		"Other":   {"Others are not allowed.", "blog", "infra", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := rules(t).DependOn(tc.namespace, tc.on); (err == nil) != tc.want || err != nil && !fault.Is(err, fault.Unauthorized) {
				t.Errorf("%s\nDependOn(...): got %v", tc.reason, err)
			}
		})
	}
}

// tree is a tree of files with one object each, of so many bytes.
func tree(sizes ...int) []render.Desired {
	objects := make([]render.Desired, len(sizes))
	for i, size := range sizes {
		objects[i] = render.Desired{Bytes: size, Origin: object.Origin{File: string(rune('a'+i)) + ".yaml"}}
	}
	return objects
}

func TestCheck(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason    string
		namespace string
		objects   []render.Desired
		want      *tenancy.OverQuotaError
	}{
		"Full": {reason: "As much as the quota is not too much.", namespace: "shop", objects: tree(50, 25, 25)},
		"Objects": {
			reason: "The file after the last that fits is named, and all objects are counted.", namespace: "blog", objects: tree(1, 1, 1, 1, 1),
			want: &tenancy.OverQuotaError{Namespace: "blog", Limit: "objects", Held: 5, Allowed: 3, File: "d.yaml"},
		},
		"Bytes": {
			reason: "The file that crosses the quota is named, and all bytes are counted.", namespace: "shop", objects: tree(60, 41, 7),
			want: &tenancy.OverQuotaError{Namespace: "shop", Limit: "bytes", Held: 108, Allowed: 100, File: "b.yaml"},
		},
		"Override": {reason: "A namespace's own quota counts.", namespace: "infra", objects: tree(1, 1, 1, 1, 1)},
		"Both": {
			reason: "What is crossed first is told.", namespace: "shop", objects: tree(1, 1, 1, 1000),
			want: &tenancy.OverQuotaError{Namespace: "shop", Limit: "objects", Held: 4, Allowed: 3, File: "d.yaml"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _ := errors.AsType[*tenancy.OverQuotaError](rules(t).Check(tc.namespace, tc.objects))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nCheck(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	var r tenancy.Rules
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	if got, want := r.QuotaOf("shop"), (tenancy.Quota{Objects: tenancy.DefaultObjects, Bytes: tenancy.DefaultBytes}); got != want {
		t.Errorf("QuotaOf(shop): got %+v, want %+v", got, want)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		rules  tenancy.Rules
	}{
		"NoNamespace":      {"A rule for nobody is a mistake.", tenancy.Rules{Paths: []tenancy.PathRule{{Paths: []string{"a"}}}}},
		"Above":            {"A path does not leave the repository.", tenancy.Rules{Paths: []tenancy.PathRule{{Namespaces: []string{"a"}, Paths: []string{"../b"}}}}},
		"HalfADependency":  {"A dependency has two sides.", tenancy.Rules{Dependencies: []tenancy.DependencyRule{{Namespaces: []string{"a"}}}}},
		"Negative":         {"A quota is not negative.", tenancy.Rules{Quotas: tenancy.Quotas{Quota: tenancy.Quota{Bytes: -1}}}},
		"MoreThanRendered": {"A quota promises no more than can be rendered.", tenancy.Rules{Quotas: tenancy.Quotas{Namespaces: map[string]tenancy.Quota{"a": {Objects: render.MaxObjects + 1}}}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := tc.rules.Validate(); err == nil {
				t.Errorf("%s\nValidate(): got nil", tc.reason)
			}
		})
	}
}
