package object

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKeyText(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		key    Key
		text   string
		id     string
	}{
		"Namespaced": {
			reason: "people read no group, the id has one",
			key:    Key{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"},
			text:   "Deployment/shop/web", id: "Deployment.apps/shop/web",
		},
		"Core":       {"the core group is empty", Key{Kind: "Service", Namespace: "shop", Name: "web"}, "Service/shop/web", "Service/shop/web"},
		"Cluster":    {"no namespace", Key{Kind: "Namespace", Name: "shop"}, "Namespace/shop", "Namespace/shop"},
		"DottedName": {"dots in names stay in names", Key{Group: "a.b", Kind: "C", Name: "x.y"}, "C/x.y", "C.a.b/x.y"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.text, tc.key.String()); diff != "" {
				t.Errorf("%s\nString(): -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.id, tc.key.ID()); diff != "" {
				t.Errorf("%s\nID(): -want, +got:\n%s", tc.reason, diff)
			}
			back, err := ParseID(tc.id)
			if err != nil {
				t.Fatalf("ParseID(%q): %v", tc.id, err)
			}
			if diff := cmp.Diff(tc.key, back); diff != "" {
				t.Errorf("ParseID(%q): -want, +got:\n%s", tc.id, diff)
			}
		})
	}
}

func FuzzParseID(f *testing.F) {
	for _, seed := range []string{"Service/shop/web", "Deployment.apps/shop/web", "Namespace/shop", "//", "a./b", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := ParseID(s)
		if err == nil && key.ID() != s {
			t.Errorf("ParseID(%q).ID() = %q", s, key.ID())
		}
	})
}
