package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-cd/tandem/automator/internal/authority"
	"github.com/tandem-cd/tandem/shared/config"
)

// Defaults of how long what `tandem ca` makes is valid.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	userLife      = 90 * 24 * time.Hour
	// maxUserLife bounds a person's certificate.
	maxUserLife = 366 * 24 * time.Hour
)

func (a *app) ca() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Make the authority that signs clusters and people, offline",
		Long: `Make the authority that signs clusters and people.

These commands write files and talk to nobody. Keep ca.key where you keep your other keys: who has it can
call the automator in anybody's name. The automator needs both files (authority.certFile and authority.keyFile).`,
	}
	cmd.AddCommand(a.caCreate(), a.caUser(), a.caRotate())
	return cmd
}

func (a *app) caCreate() *cobra.Command {
	var out string
	var life time.Duration
	cmd := &cobra.Command{
		Use:     "create --out DIR",
		Short:   "Make a new authority: ca.crt and ca.key",
		Example: "  tandem ca create --out tandem-ca",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if life <= 0 {
				return errors.New("--life must be more than 0")
			}
			cert, key, err := authority.Create(time.Now(), life)
			if err != nil {
				return err
			}
			return a.writePair(out, "ca", cert, key)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder to write to; it is made when it does not exist")
	cmd.Flags().DurationVar(&life, "life", authorityLife, "how long the authority is valid")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}

// authorityFiles are the flags that name an authority.
type authorityFiles struct{ cert, key, out string }

func (f *authorityFiles) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.cert, "ca-cert", "", "file with the authority's certificate, in PEM")
	cmd.Flags().StringVar(&f.key, "ca-key", "", "file with the authority's key, in PEM")
	cmd.Flags().StringVar(&f.out, "out", ".", "folder to write to; it is made when it does not exist")
	_ = cmd.MarkFlagRequired("ca-cert")
	_ = cmd.MarkFlagRequired("ca-key")
}

func (f *authorityFiles) read() (cert, key []byte, err error) {
	certText, err := config.ReadSecret(f.cert)
	if err != nil {
		return nil, nil, fmt.Errorf("--ca-cert: %w", err)
	}
	keyText, err := config.ReadSecret(f.key)
	if err != nil {
		return nil, nil, fmt.Errorf("--ca-key: %w", err)
	}
	return []byte(certText + "\n"), []byte(keyText + "\n"), nil
}

func (a *app) caUser() *cobra.Command {
	var files authorityFiles
	var life time.Duration
	cmd := &cobra.Command{
		Use:   "user NAME --ca-cert FILE --ca-key FILE",
		Short: "Make a certificate and key for a person: NAME.crt and NAME.key",
		Long: `Make a certificate and key for a person: NAME.crt and NAME.key.

With them a person may ask the automator questions. To enroll and revoke clusters the name must also stand
under admins in automator.yaml. A lost certificate is revoked by: tandem cluster revoke NAME --user`,
		Example: "  tandem ca user ann --ca-cert tandem-ca/ca.crt --ca-key tandem-ca/ca.key --out ~/.config/tandem",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if life > maxUserLife {
				return fmt.Errorf("--life %s is longer than %s; certificates of people should be made anew now and then", life, maxUserLife)
			}
			caCert, caKey, err := files.read()
			if err != nil {
				return err
			}
			cert, key, err := authority.IssueUser(caCert, caKey, args[0], time.Now(), life)
			if err != nil {
				return err
			}
			return a.writePair(files.out, args[0], cert, key)
		},
	}
	files.register(cmd)
	cmd.Flags().DurationVar(&life, "life", userLife, "how long the certificate is valid")
	return cmd
}

func (a *app) caRotate() *cobra.Command {
	var files authorityFiles
	var life time.Duration
	cmd := &cobra.Command{
		Use:   "rotate --ca-cert FILE --ca-key FILE --out DIR",
		Short: "Put a new authority before the present one: new ca.crt and ca.key that hold both",
		Long: `Put a new authority before the present one.

It writes a ca.crt and a ca.key that hold the new authority and, behind it, the present one. Give both files to the
automator, which reads them anew by itself: from then on the new authority signs, and those who know only the present
one still trust the automator. Clusters renew when they connect next, within 40 minutes. Then:

  tandem cluster rotate          # shows who still depends on the old authority, and what to do next`,
		Example: "  tandem ca rotate --ca-cert tandem-ca/ca.crt --ca-key tandem-ca/ca.key --out tandem-ca-next",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			oldCert, oldKey, err := files.read()
			if err != nil {
				return err
			}
			cert, key, err := authority.Rotate(oldCert, oldKey, time.Now(), life)
			if err != nil {
				return err
			}
			return a.writePair(files.out, "ca", cert, key)
		},
	}
	files.register(cmd)
	cmd.Flags().DurationVar(&life, "life", authorityLife, "how long the new authority is valid")
	return cmd
}

// writePair writes NAME.crt and NAME.key, and never over a file that is there.
func (a *app) writePair(dir, name string, cert, key []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	if err := writeNew(keyFile, key, 0o600); err != nil {
		return err
	}
	if err := writeNew(certFile, cert, 0o644); err != nil {
		return errors.Join(err, os.Remove(keyFile))
	}
	if a.format == formatTable {
		fmt.Fprintf(a.out, "%s\n%s (a secret)\n", certFile, keyFile)
		return nil
	}
	return a.object(map[string]string{"certificate": certFile, "key": keyFile})
}

func writeNew(path string, content []byte, mode fs.FileMode) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already; move it away, or give another --out", path)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Close())
}
