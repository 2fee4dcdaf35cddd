package cli_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/tandem-cd/tandem/automator/internal/cli"
	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/automator/internal/store/postgrestest"
)

// tandem runs the command line and returns what it printed.
func tandem(t *testing.T, args ...string) string {
	t.Helper()
	var out, complaints strings.Builder
	root := cli.New(&out)
	root.SetArgs(args)
	if code := cli.Run(t.Context(), root, &complaints); code != 0 {
		t.Fatalf("tandem %s: %s", strings.Join(args, " "), complaints.String())
	}
	return out.String()
}

// inStore hands a store to use and closes it.
func inStore(t *testing.T, cfg store.Config, use func(context.Context, *store.Store) error) {
	t.Helper()
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := use(t.Context(), s); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestMoveTheStore follows docs/operating.md from a file to PostgreSQL and back.
func TestMoveTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state, elsewhere := filepath.Join(dir, "state"), filepath.Join(dir, "elsewhere")
	database := postgrestest.Database(t)
	tls := database.TLS
	config, err := yaml.Marshal(map[string]any{
		"stateDir": state, "listen": "0.0.0.0:9443", "signing": map[string]any{"sshKeyFile": "/not/at/hand"},
		"store": map[string]any{
			"postgres": map[string]any{
				"hosts": database.Hosts, "database": database.Database, "user": database.User,
				"passwordFile": database.PasswordFile, "tls": map[string]any{"ca": tls.CA}, "statementTimeout": "10s",
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	automator := filepath.Join(dir, "automator.yaml")
	if err := os.WriteFile(automator, config, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	inStore(t, store.Config{Path: filepath.Join(state, store.FileName)}, func(ctx context.Context, s *store.Store) error {
		_, err := s.Revoke(ctx, "cluster", "prod", at)
		return err
	})

	there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
	tandem(t, "backup", "--state-dir", state, there)
	tandem(t, "restore", there, "--automator-config", automator)
	said := tandem(t, "restore", there, "--automator-config", automator)
	if !strings.Contains(said, there+".before-restore") {
		t.Errorf("it should say where it kept what was there: %q", said)
	}
	tandem(t, "backup", "--automator-config", automator, back)
	tandem(t, "restore", back, "--state-dir", elsewhere)

	for name, cfg := range map[string]store.Config{"database": {Postgres: database}, "file": {Path: filepath.Join(elsewhere, store.FileName)}} {
		inStore(t, cfg, func(ctx context.Context, s *store.Store) error {
			id, found, err := s.Identity(ctx, "cluster", "prod")
			if !found || !id.Revoked.Equal(at) {
				return fmt.Errorf("%s: the revocation is %v, %v: %w", name, id.Revoked, found, err)
			}
			return nil
		})
	}
}
