package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
)

func (a *app) cluster() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Enroll clusters, list and revoke them, rotate the authority",
		Long: `Enroll clusters, list and revoke them, rotate the authority.

Your name has to stand under admins in automator.yaml. Enrolling gives a cluster an identity and grants it nothing:
what it may receive stands in Git, in .tandem/clusters.yaml.`,
	}
	cmd.AddCommand(a.clusterEnroll(), a.clusterList(), a.clusterRevoke(), a.clusterRotate(), a.clusterDoctor())
	return cmd
}

// administered runs fn with a client of the administration.
func (a *app) administered(fn func(enrollmentv1.EnrollmentAdminServiceClient) error) error {
	return a.connected(func(conn *grpc.ClientConn) error {
		return fn(enrollmentv1.NewEnrollmentAdminServiceClient(conn))
	})
}

func (a *app) clusterEnroll() *cobra.Command {
	req := &enrollmentv1.CreateTokenRequest{}
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "enroll NAME",
		Short: "Print a token with which a cluster enrolls, once",
		Long: `Print a token with which a cluster enrolls, once.

The token is a secret, and cannot be asked for again. The synchronizer reads it from the file that enrollment.tokenFile
names, makes its key in the cluster, and needs the token no more after that.

A cluster that has lost its key needs --replace: what it had is revoked when the token is redeemed.`,
		Example: "  tandem cluster enroll prod-eu\n  tandem cluster enroll prod-eu --ttl 15m -o json | jq -r .token",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Cluster, req.TtlSeconds = args[0], int64(ttl/time.Second)
			return a.administered(func(api enrollmentv1.EnrollmentAdminServiceClient) error {
				resp, err := api.CreateToken(cmd.Context(), req)
				if err != nil || a.format != formatTable {
					return a.or(resp, err)
				}
				fmt.Fprintln(a.out, resp.GetToken())
				fmt.Fprintf(cmd.ErrOrStderr(), "\nThe token enrolls cluster %s until %s, once. Keep it secret.\n", args[0], at(resp.GetExpires()))
				if !resp.GetGranted() {
					fmt.Fprintf(cmd.ErrOrStderr(), "The cluster is granted nothing yet: add it to .tandem/clusters.yaml in the repository that it should receive.\n")
				}
				return nil
			})
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long the token can be redeemed, at most 168h")
	cmd.Flags().BoolVar(&req.Replace, "replace", false, "the cluster has lost its key: revoke what it had once the token is redeemed")
	return cmd
}

// or prints a message for scripts, or returns the error that came instead.
func (a *app) or(message proto.Message, err error) error {
	if err != nil {
		return err
	}
	return a.machine(message)
}

// at is a time as people and other programs read it.
func at(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().Format(time.RFC3339)
}

func (a *app) clusterList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List clusters with their certificates, and who was revoked",
		Example: "  tandem cluster list\n  tandem cluster list -o json | jq '.identities[] | select(.state != \"IDENTITY_STATE_ENROLLED\")'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.administered(func(api enrollmentv1.EnrollmentAdminServiceClient) error {
				all := &enrollmentv1.ListIdentitiesResponse{}
				err := pages(func(token string) (string, error) {
					resp, err := api.ListIdentities(cmd.Context(), &enrollmentv1.ListIdentitiesRequest{PageSize: pageSize, PageToken: token})
					all.Identities = append(all.Identities, resp.GetIdentities()...)
					return resp.GetNextPageToken(), err
				})
				if err != nil || a.format != formatTable {
					return a.or(all, err)
				}
				var rows [][]string
				for _, id := range all.GetIdentities() {
					rows = append(rows, identityRow(id))
				}
				return table(a.out, "NAME ROLE STATE ISSUED EXPIRES AUTHORITY VERSION", rows)
			})
		},
	}
}

func identityRow(id *enrollmentv1.EnrolledIdentity) []string {
	expires := id.GetExpires()
	if id.GetState() == enrollmentv1.IdentityState_IDENTITY_STATE_PENDING {
		expires = id.GetTokenExpires()
	}
	return []string{
		id.GetName(), strings.ToLower(word(id.GetRole(), "ROLE_")), word(id.GetState(), "IDENTITY_STATE_"),
		at(id.GetIssued()), at(expires), orElse(id.GetAuthority(), "-"), orElse(id.GetVersion(), "-"),
	}
}

func (a *app) clusterRevoke() *cobra.Command {
	req := &enrollmentv1.RevokeRequest{Role: enrollmentv1.Role_ROLE_CLUSTER}
	var user bool
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Refuse a cluster's certificates from now on, and end its streams",
		Long: `Refuse every certificate that was issued to a cluster until now, end its open streams within 5 seconds, and void
its open tokens. What runs in the cluster goes on running.

To make it last even if the automator's store is lost, remove the cluster's grants from .tandem/clusters.yaml too.`,
		Example: "  tandem cluster revoke prod-eu\n  tandem cluster revoke ann --user",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Name = args[0]
			if user {
				req.Role = enrollmentv1.Role_ROLE_USER
			}
			return a.administered(func(api enrollmentv1.EnrollmentAdminServiceClient) error {
				resp, err := api.Revoke(cmd.Context(), req)
				if err != nil || a.format != formatTable {
					return a.or(resp, err)
				}
				fmt.Fprintf(a.out, "%s is revoked: nothing issued until %s counts. %d open calls ended.\n", args[0], at(resp.GetRevoked()), resp.GetCallsEnded())
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&user, "user", false, "NAME is a person with a certificate of `tandem ca user`")
	return cmd
}

// rotationPoll is how often --wait asks how far the rotation is.
const rotationPoll = 5 * time.Second

func (a *app) clusterRotate() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Show how far the rotation of the authority is, and what to do next",
		Long: `Show how far the rotation of the authority is, and what to do next.

A rotation is: make a new authority with "tandem ca rotate", give its files to the automator, wait until no cluster
depends on the old one, and take the old one out of the files. No cluster is cut off on the way.`,
		Example: "  tandem cluster rotate\n  tandem cluster rotate --wait",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.administered(func(api enrollmentv1.EnrollmentAdminServiceClient) error {
				resp, err := rotation(cmd.Context(), api, wait)
				if err != nil || a.format != formatTable {
					return a.or(resp, err)
				}
				return a.printRotation(resp)
			})
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until no cluster depends on an old authority")
	return cmd
}

// rotation asks for the state, until nobody depends on an old authority if it is to wait.
func rotation(ctx context.Context, api enrollmentv1.EnrollmentAdminServiceClient, wait bool) (*enrollmentv1.GetAuthorityResponse, error) {
	ticker := time.NewTicker(rotationPoll)
	defer ticker.Stop()
	for {
		resp, err := api.GetAuthority(ctx, &enrollmentv1.GetAuthorityRequest{})
		if err != nil || !wait || len(waiting(resp)) == 0 {
			return resp, err
		}
		select {
		case <-ctx.Done():
			return resp, nil
		case <-ticker.C:
		}
	}
}

// waiting names the clusters that depend on an authority which signs no more.
func waiting(resp *enrollmentv1.GetAuthorityResponse) []string {
	var names []string
	for _, one := range resp.GetAuthorities() {
		if !one.GetActive() {
			names = append(names, one.GetNames()...)
		}
	}
	return names
}

func (a *app) printRotation(resp *enrollmentv1.GetAuthorityResponse) error {
	var rows [][]string
	deaf := false
	for _, one := range resp.GetAuthorities() {
		role := "trusted"
		switch {
		case one.GetActive():
			role = "signs"
		case !one.GetServes():
			role, deaf = "trusted, key gone", true
		}
		rows = append(rows, []string{one.GetKey(), role, at(one.GetExpires()), fmt.Sprint(one.GetClusters()), orElse(strings.Join(one.GetNames(), ","), "-")})
	}
	if err := table(a.out, "AUTHORITY ROLE EXPIRES CLUSTERS NAMES", rows); err != nil {
		return err
	}
	if resp.GetProblem() != "" {
		fmt.Fprintf(a.out, "\nProblem: %s\n", resp.GetProblem())
	}
	names := waiting(resp)
	switch {
	case len(rows) == 1:
		fmt.Fprintln(a.out, "\nNo rotation is under way. To begin one: tandem ca rotate --help")
	case len(names) > 0 && deaf:
		fmt.Fprintln(a.out, "\nClusters that know only an authority whose key is gone do not trust this automator: put its key back into authority.keyFile.")
	case len(names) > 0:
		fmt.Fprintf(a.out, "\nWait: %s renew when they connect next. One that is away for good needs: tandem cluster enroll NAME --replace\n", strings.Join(names, ", "))
	default:
		fmt.Fprintln(a.out, "\nDone: take every authority but the first out of the automator's files, and make new certificates for people whose own are of an old one.")
	}
	return nil
}
