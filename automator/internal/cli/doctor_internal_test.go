package cli

import (
	"testing"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/doctor"
)

// TestDoctorOfCredentials fails for those that are missing, and not for those that count on.
func TestDoctorOfCredentials(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		warning bool
		want    doctor.Level
	}{
		"Missing": {false, doctor.Failure},
		"Kept":    {true, doctor.Warning},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			visit := &clusterVisit{report: &doctor.Report{}}
			visit.judgeCredentials(&statusv1.Problem{Message: "Vault is sealed", Warning: tc.warning})
			found := visit.report.Findings()
			if len(found) != 1 || found[0].Level != tc.want || found[0].Check != "credentials" || found[0].What != "Vault is sealed" {
				t.Errorf("findings: %+v, want one of level %s", found, tc.want)
			}
			if err := visit.report.Err(); (err == nil) != tc.warning {
				t.Errorf("Err: %v", err)
			}
		})
	}
}
