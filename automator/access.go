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
)

// authorize keeps clusters to the relay, and people to questions: a stolen cluster certificate reads no other cluster.
func authorize(_ context.Context, id rpc.Identity, method string) error {
	isRelay := strings.HasPrefix(method, relayPrefix)
	isQuery := strings.HasPrefix(method, statusPrefix) || strings.HasPrefix(method, pipelinePrefix)
	if isRelay && id.Role != rpc.RoleCluster || isQuery && id.Role != rpc.RoleUser {
		return fault.New(fault.Unauthorized, "%s may not call %s", id, method)
	}
	return nil
}
