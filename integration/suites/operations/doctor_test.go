package operations_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/integration/env"
	"github.com/tandem-cd/tandem/shared/doctor"
)

// visit runs a doctor, and returns what it found and whether it failed.
func visit(t *testing.T, program string, args ...string) (findings []doctor.Finding, failed bool) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, append(args, "-o", "json")...).Output()
	var report struct {
		Findings []doctor.Finding `json:"findings"`
	}
	if unreadable := json.Unmarshal(out, &report); unreadable != nil {
		t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, out)
	}
	return report.Findings, err != nil
}

// finds checks that there is a finding of a level about a check, with a text in it.
func finds(t *testing.T, findings []doctor.Finding, level doctor.Level, check, text string) {
	t.Helper()
	for _, f := range findings {
		if f.Level == level && f.Check == check && strings.Contains(f.What, text) {
			return
		}
	}
	t.Errorf("no finding: %s %s %q in %+v", level, check, text, findings)
}

// TestDoctors has both doctors look at a system that is well, and then at one after another thing that is not.
func TestDoctors(t *testing.T) {
	world := newWorld(t, env.Options{Name: "doctor", Enroll: time.Hour})
	enrolls(t, world)
	at := world.Sites[site]
	inside := func() ([]doctor.Finding, bool) {
		return visit(t, world.Program("tandem-synchronizer"), "doctor", "--config", at.Synchronizer.Config())
	}
	outside := func() ([]doctor.Finding, bool) {
		return visit(t, world.Program("tandem"), "--config", world.CLIConfig(), "cluster", "doctor")
	}
	if err := world.Automator.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, failed := inside()
	if !failed {
		t.Error("a cluster that is not enrolled is well")
	}
	finds(t, found, doctor.Failure, "identity", "is not enrolled")
	found, _ = outside()
	finds(t, found, doctor.Warning, "identity", site+" has a token")

	if err := at.Synchronizer.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	release(t, world, "1.1.0")
	found, failed = inside()
	if failed {
		t.Errorf("a system that is well: %+v", found)
	}
	for check, text := range map[string]string{
		"API server": "Kubernetes v", "clock": "the API server's clock", "definition": "as this program knows it", "namespace": at.Namespace + " has 1 Syncs",
		"rights": "Sync " + at.Namespace + "/shop as account tandem may", "identity": "this is cluster/" + site, "path": "nothing on the way ends TLS",
		"automator": "lets this cluster in", "version": "dev", "certificate": "the authority", "state": "can be written",
	} {
		finds(t, found, doctor.OK, check, text)
	}
	finds(t, found, doctor.OK, "clock", "the automator's clock")
	found, failed = outside()
	if failed {
		t.Errorf("a system that is well: %+v", found)
	}
	finds(t, found, doctor.OK, "cluster", site+" is connected")
	finds(t, found, doctor.OK, "certificate", "the certificate of "+site)
	finds(t, found, doctor.OK, "grants", "all sources of the 1 Syncs")
	finds(t, found, doctor.OK, "report", "the last event of "+site)

	roles := world.Client.RbacV1().RoleBindings(at.Namespace)
	if err := roles.Delete(t.Context(), "tandem", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	denied := func() bool {
		found, failed = inside()
		for _, f := range found {
			if f.Level == doctor.Failure {
				return failed
			}
		}
		return false
	}
	for deadline := time.Now().Add(env.WaitTimeout); !denied(); {
		if time.Now().After(deadline) {
			t.Fatalf("no failure without the account's rights: %+v", found)
		}
	}
	finds(t, found, doctor.Failure, "rights", "Sync "+at.Namespace+"/shop as account tandem may not: get, create, patch, delete configmaps")

	if err := at.Synchronizer.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := world.Automator.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, _ = inside()
	finds(t, found, doctor.Failure, "path", "does not answer")
	found, failed = outside()
	if !failed {
		t.Error("an automator that is not there is well")
	}
	finds(t, found, doctor.Failure, "path", "does not answer")

	nothing := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(nothing, []byte("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\n"+
		"contexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	found, _ = visit(t, world.Program("tandem-synchronizer"), "doctor", "--config", at.Synchronizer.Config(), "--kubeconfig", nothing)
	finds(t, found, doctor.Failure, "API server", "does not answer")
}
