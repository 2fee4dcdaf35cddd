package compare

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func FuzzObjects(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"x"}}`, `{"apiVersion":"v1","kind":"ConfigMap","data":{"b":"y"}}`},
		{`{"apiVersion":"v1","kind":"Secret","data":{"a":"x"}}`, `{"apiVersion":"v1","kind":"Secret","metadata":{"annotations":{"a":"x"}}}`},
		{`{"apiVersion":"v1","kind":"A","l":[{"name":"a"},{"name":"b","l":[[1],null]}]}`, `{"apiVersion":"v1","kind":"A","l":[{"name":"b"},1.5]}`},
		{`{"kind":"A","metadata":[]}`, `{}`},
	} {
		f.Add(seed[0], seed[1], "key")
	}
	f.Fuzz(func(t *testing.T, one, two, key string) {
		before, okBefore := decode(one)
		after, okAfter := decode(two)
		if !okBefore || !okAfter {
			return
		}
		got := Objects(before, after)
		check(t, got)
		if same := Objects(before, before); !same.Same() || same.Diff != "" {
			t.Errorf("differs from itself: %+v", same)
		}
		if !got.Same() && got.Diff == "" {
			t.Errorf("differs in %+v, and shows nothing", got.Fields)
		}
		secret := secretOf(before, key)
		for _, d := range []Difference{Objects(secret, after), Objects(after, secret), Objects(nil, secret)} {
			check(t, d)
			text, _ := json.Marshal(d)
			if strings.Contains(string(text), canary) {
				t.Errorf("a secret is shown: %s", text)
			}
		}
	})
}

const canary = "c4n4ry-in-the-mine"

// secretOf makes a Secret of an object, with a value at every place where a Secret can have one.
func secretOf(object map[string]any, key string) map[string]any {
	secret := map[string]any{}
	maps.Copy(secret, object)
	secret["apiVersion"], secret["kind"] = "v1", "Secret"
	secret["data"] = map[string]any{key: canary, "nested": map[string]any{key: canary}}
	secret["stringData"] = []any{canary}
	secret["metadata"] = map[string]any{"annotations": map[string]any{"x/" + key: canary, "kubectl.kubernetes.io/last-applied-configuration": canary}, "generateName": canary}
	secret["more"] = map[string]any{key: []any{canary}}
	return secret
}

func decode(text string) (map[string]any, bool) {
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON([]byte(text)); err != nil {
		return nil, false
	}
	return u.Object, true
}

func check(t *testing.T, d Difference) {
	t.Helper()
	if len(d.Fields) > MaxFields || len(d.Diff) > MaxDiff+100 || !utf8.ValidString(d.Diff) {
		t.Errorf("%d fields, %d bytes, valid: %v", len(d.Fields), len(d.Diff), utf8.ValidString(d.Diff))
	}
	for _, f := range d.Fields {
		if len(f.Path) > MaxPath || len(f.Before) > MaxValue || len(f.After) > MaxValue || f.Before == f.After && len(f.Before) < MaxValue-4 {
			t.Errorf("field %+v", f)
		}
	}
}
