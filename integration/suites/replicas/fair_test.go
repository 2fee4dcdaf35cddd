package replicas_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/integration/env"
)

// TestAChangeIsAppliedWhileAHugeSyncIsBeingApplied changes the only object of a Sync by hand while another with thousands is
// applied for the first time, on a synchronizer with a single worker: it is put right before the huge one is done.
func TestAChangeIsAppliedWhileAHugeSyncIsBeingApplied(t *testing.T) {
	const huge = 2 * many
	w := newWorld(t, ground(t), env.Options{Name: "fair"})
	config := w.site().Synchronizer.Config()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(text, "workers: 1\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	w.commit("Grants", grants())
	w.commit("A small one", configMaps("small", "one", 1))
	seed := w.commit("A huge one", configMaps("huge", "one", huge))
	w.start(w.Automator, w.site().Synchronizer)
	w.sync("small")
	w.healthyAt("small", seed)
	w.sync("huge")
	w.applied("huge-", huge/10)
	changed := time.Now()
	patch := []byte(`{"data":{"value":"by hand"}}`)
	if _, err := w.Client.CoreV1().ConfigMaps(w.site().Namespace).Patch(t.Context(), "small-0000", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.healthyAt("huge", seed)
	var healed time.Time
	before, after := 0, 0
	for _, r := range w.writes() {
		switch {
		case r.Name == "small-0000" && r.At.After(changed) && healed.IsZero():
			healed = r.At
		case strings.HasPrefix(r.Name, "huge-") && r.At.After(changed) && (healed.IsZero() || r.At.Before(healed)):
			before++
		case strings.HasPrefix(r.Name, "huge-") && r.At.After(changed):
			after++
		}
	}
	t.Logf("%d objects of the huge Sync were written between the change and its repair, and %d afterwards", before, after)
	if healed.IsZero() || after == 0 {
		t.Errorf("the change was put right at %v, with %d objects of the huge Sync still to come; want some", healed, after)
	}
}
