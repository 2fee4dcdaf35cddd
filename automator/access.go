package automator

import (
	"context"
	"strings"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// The services that each role may call. Health and reflection are for everybody who has a certificate.
const (
	relayPrefix    = "/tandem.relay.v1."
	statusPrefix   = "/tandem.status.v1."
	pipelinePrefix = "/tandem.pipeline.v1."
	enrollPrefix   = "/tandem.enrollment.v1.EnrollmentService/"
	adminPrefix    = "/tandem.enrollment.v1.EnrollmentAdminService/"
)

// isPublic says which methods are for those who have no certificate yet, or none any more.
func isPublic(method string) bool { return strings.HasPrefix(method, enrollPrefix) }

// authorize keeps clusters to the relay, and people to questions: a stolen cluster certificate reads no other cluster.
// Whoever was revoked calls nothing.
func (a *Automator) authorize(_ context.Context, id rpc.Identity, method string) error {
	if err := a.enroll.Admit(id); err != nil {
		return err
	}
	if strings.HasPrefix(method, adminPrefix) {
		return a.enroll.AdmitAdmin(id)
	}
	isRelay := strings.HasPrefix(method, relayPrefix)
	isQuery := strings.HasPrefix(method, statusPrefix) || strings.HasPrefix(method, pipelinePrefix)
	if isRelay && id.Role != rpc.RoleCluster || isQuery && id.Role != rpc.RoleUser {
		return fault.New(fault.Unauthorized, "%s may not call %s", id, method)
	}
	return nil
}

// granted reports whether a cluster may receive anything. As long as a repository has not been read nobody knows, and nobody
// is told that something is missing.
func (a *Automator) granted(cluster string) bool {
	grants := a.repos.grants(cluster)
	return grants.Incomplete || len(grants.Known) > 0
}
