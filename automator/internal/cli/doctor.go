package cli

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	pipelinev1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/pipeline/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/doctor"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
)

// rotationTime is how long before its end an authority should be rotated, so that people notice.
const rotationTime = 30 * 24 * time.Hour

// silence is how long a connected cluster may report nothing new before that is worth a look.
const silence = 30 * 24 * time.Hour

func (a *app) clusterDoctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor [NAME]",
		Short: "Look for what is wrong between you, the automator and its clusters, and say what to do",
		Long: `Look for what is wrong between you, the automator and its clusters, and say what to do.

It looks at the way to the automator (whether something ends TLS on it), certificates, clocks and versions, and for every
cluster at its connection, identity, grants and last report. What can only be seen from inside of a cluster (rights, the
definition of Syncs, its clock, its way to the automator) is looked at there:

  kubectl -n tandem-system exec deployment/tandem-synchronizer -- tandem-synchronizer doctor

It fails when something does not work; warnings are no failure.`,
		Example: "  tandem cluster doctor\n  tandem cluster doctor prod-eu -o json | jq '.findings[] | select(.level != \"ok\")'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			visit := &clusterVisit{report: &doctor.Report{}}
			if len(args) == 1 {
				visit.only = args[0]
			}
			to, err := a.connection.target()
			if err != nil {
				return err
			}
			if visit.path(cmd.Context(), to) {
				err = a.connected(func(conn *grpc.ClientConn) error { visit.automator(cmd.Context(), conn); return nil })
			}
			return errors.Join(err, a.printVisit(visit.report), visit.report.Err())
		},
	}
}

func (a *app) printVisit(report *doctor.Report) error {
	if a.format == formatTable {
		return report.WriteText(a.out)
	}
	raw, err := json.Marshal(map[string]any{"findings": report.Findings()})
	if err != nil {
		return err
	}
	return a.raw(raw)
}

// clusterVisit is one visit of the doctor at an automator.
type clusterVisit struct {
	report *doctor.Report
	only   string // one cluster; all when empty
	facts  rpc.Facts
}

// path looks at the way to the automator, and at our own certificate.
func (v *clusterVisit) path(ctx context.Context, to target) bool {
	trusted, err := rpc.ReadCertificates(to.CA)
	if err != nil {
		v.report.Fail("path", "give --ca: the file with the automator's CA", "the CA cannot be read: %v", err)
		return false
	}
	if to.Cert != "" {
		own, err := rpc.ReadCertificates(to.Cert)
		if err != nil {
			v.report.Fail("certificate", "make one with `tandem ca user`", "your certificate cannot be read: %v", err)
			return false
		}
		v.report.Expiry("your certificate", own[0].NotBefore, own[0].NotAfter, "make another with `tandem ca user`")
	}
	host, _, err := net.SplitHostPort(to.Address)
	if err != nil {
		v.report.Fail("path", "write host:port", "%q is no address", to.Address)
		return false
	}
	return v.report.Path(ctx, to.Address, orElse(to.ServerName, host), trusted, false)
}

// automator asks the automator about itself and its clusters.
func (v *clusterVisit) automator(ctx context.Context, conn *grpc.ClientConn) {
	var header metadata.MD
	before := time.Now()
	clusters, err := v.clusters(ctx, conn, grpc.Header(&header))
	after := time.Now()
	v.facts = rpc.FactsOf(header)
	if !v.facts.Time.IsZero() {
		v.report.Clock("the automator's clock", v.facts.Time, before, after)
	}
	switch {
	case fault.Is(err, fault.Unauthorized):
		v.report.Fail("automator", "make a certificate with `tandem ca user`, or ask who revoked yours", "it does not let you ask: %v", err)
		return
	case err != nil:
		v.report.Fail("automator", "look into its log", "it does not answer: %v", err)
		return
	}
	v.report.Ok("automator", "it answers, version %s", orElse(v.facts.Version, "unknown"))
	v.problems(ctx, conn)
	identities := v.identities(ctx, enrollmentv1.NewEnrollmentAdminServiceClient(conn))
	for name := range identities {
		if clusters[name] == nil && (v.only == "" || v.only == name) {
			clusters[name] = &statusv1.Cluster{Name: name}
		}
	}
	if v.only != "" && clusters[v.only] == nil {
		v.report.Fail("cluster", "enroll it: `tandem cluster enroll "+v.only+"`", "the automator knows no cluster %q", v.only)
	}
	for _, name := range slices.Sorted(maps.Keys(clusters)) {
		v.cluster(ctx, conn, clusters[name], identities[name])
	}
}

// problems looks for what keeps the automator from storing events, and for credentials of registries and Git hosts that it
// cannot renew.
func (v *clusterVisit) problems(ctx context.Context, conn *grpc.ClientConn) {
	resp, err := pipelinev1.NewPipelineServiceClient(conn).ListPipelines(ctx, &pipelinev1.ListPipelinesRequest{PageSize: 1})
	if err != nil {
		v.report.Warn("store", "", "whether events are stored was not looked at, nor were credentials of registries and Git hosts: %v", err)
		return
	}
	for _, problem := range resp.GetProblems() {
		if problem.GetKind() == statusv1.ProblemKind_PROBLEM_KIND_STORE {
			v.report.Fail("store", "make room in stateDir, or see to the database that store names", "%s", problem.GetMessage())
		}
		if problem.GetKind() == statusv1.ProblemKind_PROBLEM_KIND_CREDENTIALS {
			v.judgeCredentials(problem)
		}
	}
}

// judgeCredentials tells those that count on, though there are no newer ones, from those that are missing.
func (v *clusterVisit) judgeCredentials(problem *statusv1.Problem) {
	tell := v.report.Fail
	if problem.GetWarning() {
		tell = v.report.Warn
	}
	tell("credentials", "see docs/registries.md, Vault", "%s", problem.GetMessage())
}

// clusters are those that have been connected, by name.
func (v *clusterVisit) clusters(ctx context.Context, conn *grpc.ClientConn, option grpc.CallOption) (map[string]*statusv1.Cluster, error) {
	found := map[string]*statusv1.Cluster{}
	api := statusv1.NewStatusServiceClient(conn)
	err := pages(func(token string) (string, error) {
		resp, err := api.ListClusters(ctx, &statusv1.ListClustersRequest{PageSize: pageSize, PageToken: token}, option)
		for _, c := range resp.GetClusters() {
			if v.only == "" || c.GetName() == v.only {
				found[c.GetName()] = c
			}
		}
		return resp.GetNextPageToken(), err
	})
	return found, err
}

// identities are the enrolled clusters, by name; none for who may not ask, or where nobody enrolls.
func (v *clusterVisit) identities(ctx context.Context, api enrollmentv1.EnrollmentAdminServiceClient) map[string]*enrollmentv1.EnrolledIdentity {
	const check = "authority"
	authority, err := api.GetAuthority(ctx, &enrollmentv1.GetAuthorityRequest{})
	if err != nil {
		v.report.Warn(check, "ask as somebody who stands under admins in automator.yaml", "identities were not looked at: %v", err)
		return nil
	}
	if problem := authority.GetProblem(); problem != "" {
		v.report.Fail(check, "correct the files of authority in automator.yaml", "%s", problem)
	}
	for _, one := range authority.GetAuthorities() {
		ends := one.GetExpires().AsTime()
		// When it began is not told, so the time that a rotation needs is what counts: a quarter of this.
		v.report.Expiry("the authority "+one.GetKey(), ends.Add(-4*rotationTime), ends, "tandem ca rotate --help")
	}
	found := map[string]*enrollmentv1.EnrolledIdentity{}
	err = pages(func(token string) (string, error) {
		resp, err := api.ListIdentities(ctx, &enrollmentv1.ListIdentitiesRequest{PageSize: pageSize, PageToken: token})
		for _, id := range resp.GetIdentities() {
			if id.GetRole() == enrollmentv1.Role_ROLE_CLUSTER {
				found[id.GetName()] = id
			}
		}
		return resp.GetNextPageToken(), err
	})
	if err != nil {
		v.report.Warn(check, "", "identities were not looked at: %v", err)
	}
	return found
}

// cluster judges one cluster.
func (v *clusterVisit) cluster(ctx context.Context, conn *grpc.ClientConn, c *statusv1.Cluster, id *enrollmentv1.EnrolledIdentity) {
	const check = "cluster"
	name := c.GetName()
	const inside = "look there: kubectl -n tandem-system exec deployment/tandem-synchronizer -- tandem-synchronizer doctor"
	if id != nil {
		v.identity(name, id)
	}
	switch {
	case c.GetConnected():
		v.report.Ok(check, "%s is connected since %s", name, at(c.GetSince()))
		v.report.Versions(name, c.GetVersion(), v.facts.Version)
	case c.GetSince() != nil:
		v.report.Fail(check, inside, "%s is not connected since %s", name, at(c.GetSince()))
	default:
		v.report.Fail(check, inside, "%s has not been connected since the automator began", name)
	}
	v.syncs(ctx, statusv1.NewStatusServiceClient(conn), c)
}

// identity judges how a cluster is enrolled.
func (v *clusterVisit) identity(name string, id *enrollmentv1.EnrolledIdentity) {
	const check = "identity"
	switch id.GetState() {
	case enrollmentv1.IdentityState_IDENTITY_STATE_PENDING:
		v.report.Warn(check, "put the token where its enrollment.tokenFile is", "%s has a token until %s that it has not redeemed", name, at(id.GetTokenExpires()))
	case enrollmentv1.IdentityState_IDENTITY_STATE_REVOKED:
		v.report.Fail(check, "`tandem cluster enroll "+name+"` if that was not meant", "%s was revoked at %s", name, at(id.GetRevoked()))
	case enrollmentv1.IdentityState_IDENTITY_STATE_EXPIRED:
		v.report.Fail(check, "`tandem cluster enroll "+name+" --replace`", "%s was away for too long: its certificate ended at %s", name, at(id.GetExpires()))
	default:
		v.report.Expiry("the certificate of "+name, id.GetIssued().AsTime(), id.GetExpires().AsTime(), "the synchronizer renews it when it connects; its log says why it does not")
	}
}

// syncs judges what a cluster reported.
func (v *clusterVisit) syncs(ctx context.Context, api statusv1.StatusServiceClient, c *statusv1.Cluster) {
	name := c.GetName()
	if c.GetSyncs() == 0 && c.GetConnected() {
		v.report.Warn("grants", "grant it paths in .tandem/clusters.yaml, and apply a Sync there", "%s reports no Syncs", name)
		return
	}
	denied := 0
	err := pages(func(token string) (string, error) {
		resp, err := api.ListSyncs(ctx, &statusv1.ListSyncsRequest{Filter: &statusv1.SyncFilter{Cluster: name}, PageSize: pageSize, PageToken: token})
		for _, sync := range resp.GetSyncs() {
			for _, problem := range sync.GetProblems() {
				if problem.GetKind() == statusv1.ProblemKind_PROBLEM_KIND_SOURCE {
					denied++
					v.report.Fail("grants", "correct .tandem/clusters.yaml, or the Sync's source", "%s, Sync %s/%s: %s", name, sync.GetNamespace(), sync.GetName(), problem.GetMessage())
				}
			}
		}
		return resp.GetNextPageToken(), err
	})
	switch {
	case err != nil:
		v.report.Warn("grants", "", "the Syncs of %s were not looked at: %v", name, err)
	case denied == 0 && c.GetSyncs() > 0:
		v.report.Ok("grants", "all sources of the %d Syncs of %s are served", c.GetSyncs(), name)
	}
	v.lastReport(ctx, api, name)
}

func (v *clusterVisit) lastReport(ctx context.Context, api statusv1.StatusServiceClient, name string) {
	const check = "report"
	resp, err := api.ListEvents(ctx, &statusv1.ListEventsRequest{Filter: &statusv1.EventFilter{Cluster: name}, PageSize: 1})
	switch {
	case err != nil:
		v.report.Warn(check, "", "the events of %s were not looked at: %v", name, err)
	case len(resp.GetEvents()) == 0:
		v.report.Warn(check, "", "%s has reported no event yet", name)
	default:
		v.judgeReport(name, resp.GetEvents()[0].GetTime())
	}
}

func (v *clusterVisit) judgeReport(name string, last *timestamppb.Timestamp) {
	const check = "report"
	ago := time.Since(last.AsTime())
	switch {
	case ago < -time.Minute:
		v.report.Fail(check, "set the clocks by NTP", "the last event of %s is from the future: %s", name, at(last))
	case ago > silence:
		v.report.Warn(check, "nothing, if nothing was released", "the last event of %s is from %s", name, at(last))
	default:
		v.report.Ok(check, "the last event of %s is from %s", name, at(last))
	}
}
