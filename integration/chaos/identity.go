package chaos

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tandem-cd/tandem/integration/env"
)

// certificateLife is long enough that nothing needs to be renewed during a story.
const certificateLife = time.Hour

// enrolling has the cluster enroll with a token, for certificates that live so long.
func enrolling(life time.Duration) func(*env.Options) {
	return func(o *env.Options) { o.Enroll = life }
}

// enroll gives the cluster a token of `tandem cluster enroll`, as who installs the synchronizer does.
func (s *Scene) enroll(ctx context.Context, flags ...string) error {
	args := append([]string{"--config", s.World.CLIConfig(), "cluster", "enroll", site}, flags...)
	var problem strings.Builder
	cmd := exec.CommandContext(ctx, s.World.Program("tandem"), args...)
	cmd.Stderr = &problem
	token, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("tandem cluster enroll %v: %w: %s", flags, err, problem.String())
	}
	// In one step, as Kubernetes does with a mounted Secret.
	next := s.Site.TokenFile() + ".new"
	if err := os.WriteFile(next, token, privateMode); err != nil {
		return err
	}
	return os.Rename(next, s.Site.TokenFile())
}

// certificate is what the cluster keeps.
func (s *Scene) certificate(ctx context.Context) (*x509.Certificate, error) {
	secret, err := s.World.Client.CoreV1().Secrets(s.Site.Namespace).Get(ctx, env.IdentitySecret, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(secret.Data["tls.crt"])
	if block == nil {
		return nil, errors.New("the cluster keeps no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// logged waits until the synchronizer's log has a text.
func (s *Scene) logged(ctx context.Context, text string) error {
	return s.Until(ctx, "the synchronizer says "+text, func(context.Context) (bool, error) {
		log, err := os.ReadFile(s.Site.Synchronizer.Log())
		return strings.Contains(string(log), text), err
	})
}
