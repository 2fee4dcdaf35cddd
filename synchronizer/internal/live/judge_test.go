package live_test

import (
	"testing"

	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/health"
)

// Rules of a Sync count for its own objects, those that are known already too, and for nobody else's.
func TestJudge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cluster, err := health.NewJudge(nil)
	if err != nil {
		t.Fatal(err)
	}
	judge := func(current string) *health.Judge {
		own, err := cluster.With([]health.Rule{{Kind: "ConfigMap", Current: current, Message: "'a is ' + self.data.a"}})
		if err != nil {
			t.Fatal(err)
		}
		return own
	}
	healthOf := func(name string) health.Status {
		record, _ := w.Get(w.key(name))
		return record.Health
	}
	other := w.label + "-other"
	w.Need(other, []v1alpha1.ObjectKind{configMapKind})
	w.Need(w.label, []v1alpha1.ObjectKind{configMapKind})
	w.until(t, "synced", func() bool { return w.Synced(w.label) && w.Synced(other) })
	w.Observe(w.apply(t, v1alpha1.FieldManager, "mine", "data: {a: '1'}"))
	w.Observe(w.apply(t, v1alpha1.FieldManager, "theirs", "data: {a: '1'}"))
	w.patch(t, "theirs", `{"metadata":{"labels":{"`+v1alpha1.LabelSync+`":"`+other+`"}}}`)
	w.until(t, "handed over", func() bool { return len(w.Owned(w.label)) == 1 })
	w.asked()

	w.Judge(w.label, judge("self.data.a == '2'"))
	w.until(t, "judged anew", func() bool { return w.Synced(w.label) && healthOf("mine").State == health.InProgress })
	if got := healthOf("mine").Message; got != "a is 1" {
		t.Errorf("message: %q", got)
	}
	if got := healthOf("theirs"); got.State != health.Current {
		t.Errorf("another Sync's object: %v", got)
	}
	if asked := w.asked(); asked != "GET /api/v1/namespaces/NS/configmaps" {
		t.Errorf("asked %s, want one list", asked)
	}
	w.patch(t, "mine", `{"data":{"a":"2"}}`)
	w.until(t, "as the rule wants it", func() bool { return healthOf("mine").State == health.Current })

	w.Judge(w.label, judge("self.data.a == '3'"))
	w.until(t, "by another rule", func() bool { return w.Synced(w.label) && healthOf("mine").State == health.InProgress })
	w.Judge(w.label, nil)
	w.until(t, "by no rule", func() bool { return w.Synced(w.label) && healthOf("mine").State == health.Current })
	w.asked()
	w.Judge(w.label, nil)
	w.Judge("shop.nobody", judge("false"))
	if !w.Synced(w.label) || w.asked() != "" {
		t.Error("the same again, or a Sync without objects, costs something")
	}
}
