package synchronizer

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/synchronizer/internal/enroll"
	"github.com/tandem-cd/tandem/synchronizer/internal/relay"
)

// openIdentity prepares the connection to the automator, as the one that this cluster is enrolled as, or as the files say.
func (s *Synchronizer) openIdentity(config *rest.Config) error {
	to := s.cfg.Automator
	if s.cfg.Enrollment == (EnrollmentConfig{}) {
		if _, err := to.TLS.Client(to.ServerName); err != nil {
			return fmt.Errorf("automator.tls: %w", err)
		}
		s.link = relay.NewLink(func() (*grpc.ClientConn, error) {
			config, err := to.TLS.Client(to.ServerName)
			if err != nil {
				return nil, err
			}
			return rpc.Dial(to.Address, config)
		})
		return nil
	}
	vault, err := s.vault(config)
	if err != nil {
		return err
	}
	s.link = relay.NewLink(func() (*grpc.ClientConn, error) { return s.keeper.Dial() })
	s.keeper = enroll.New(enroll.Config{
		Cluster: s.cfg.Cluster, Version: Version, TokenFile: s.cfg.Enrollment.TokenFile,
		Automator: enroll.Automator{
			Address: to.Address, ServerName: to.ServerName, Proxied: to.Proxy.TerminatesTLS, ProxyCA: to.Proxy.CAFile,
		},
	}, enroll.Deps{Vault: vault, Conn: s.link.Conn, Anew: s.link.Renew, Log: s.log})
	return nil
}

// vault is where the identity is kept.
func (s *Synchronizer) vault(config *rest.Config) (enroll.Vault, error) {
	if s.cfg.Enrollment.Dir != "" {
		return enroll.Dir(s.cfg.Enrollment.Dir), nil
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return enroll.NewSecret(client, s.cfg.Enrollment.Secret.Namespace, s.cfg.Enrollment.Secret.Name), nil
}

// whenEnrolled lets a task begin when the automator can know who calls.
func (s *Synchronizer) whenEnrolled(task func(context.Context) error) func(context.Context) error {
	if s.keeper == nil {
		return task
	}
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.keeper.Enrolled():
			return task(ctx)
		}
	}
}

// known reports why the automator cannot know who calls. Once enrolled it does not look back: what runs goes on without
// the automator.
func (s *Synchronizer) known() error {
	if s.keeper == nil {
		return nil
	}
	select {
	case <-s.keeper.Enrolled():
		return nil
	default:
		return fmt.Errorf("cluster %q is not enrolled: %w", s.cfg.Cluster, s.keeper.Problem())
	}
}
