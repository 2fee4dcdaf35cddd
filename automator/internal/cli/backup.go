package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/tandem-cd/tandem/automator/internal/store"
	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
)

// notIncluded is said with every backup.
const notIncluded = "The authority's key is not in it: keep ca.crt and ca.key yourself. What runs and what was decided is in Git."

func (a *app) backup() *cobra.Command {
	var from place
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Save the automator's store: revocations, tokens, events, what is known of tags",
		Long: `Save the automator's store: revocations, tokens, events, what is known of tags.

The copy is consistent, and the automator works on while it is made. ` + notIncluded + `

It is asked for over the network by an admin, or read from where the automator keeps it: its state folder (--state-dir), or
the PostgreSQL database that its configuration names (--automator-config). The file is the same for both.`,
		Example: "  tandem backup tandem-2026-03-01.db\n  tandem backup --state-dir /var/lib/tandem tandem.db\n  tandem backup --automator-config automator.yaml tandem.db",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from.given() {
				cfg, err := from.store()
				if err != nil {
					return err
				}
				if err := store.Backup(cmd.Context(), cfg, args[0]); err != nil {
					return err
				}
				return a.saved(args[0])
			}
			return a.administered(func(api enrollmentv1.EnrollmentAdminServiceClient) error {
				stream, err := api.Backup(cmd.Context(), &enrollmentv1.BackupRequest{})
				if err != nil {
					return err
				}
				if err := receive(stream, args[0]); err != nil {
					return err
				}
				return a.saved(args[0])
			})
		},
	}
	from.flags(cmd)
	return cmd
}

// receive writes what comes to a file that does not exist yet, and removes it when not everything came.
func receive(stream grpc.ServerStreamingClient[enrollmentv1.BackupResponse], path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(fill(file, stream), file.Sync(), file.Close())
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func fill(file io.Writer, stream grpc.ServerStreamingClient[enrollmentv1.BackupResponse]) error {
	sum := sha256.New()
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return errors.New("the backup ended before its checksum came; take it again")
		}
		if err != nil {
			return err
		}
		if want := message.GetSha256(); len(want) > 0 {
			if !bytes.Equal(want, sum.Sum(nil)) {
				return errors.New("the backup arrived damaged; take it again")
			}
			return nil
		}
		sum.Write(message.GetChunk())
		if _, err := file.Write(message.GetChunk()); err != nil {
			return err
		}
	}
}

func (a *app) saved(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if a.format == formatTable {
		fmt.Fprintf(a.out, "%s: %d bytes\n%s\n", path, info.Size(), notIncluded)
		return nil
	}
	return a.object(map[string]any{"file": path, "bytes": info.Size(), "authorityKey": false})
}

// object prints a value for scripts.
func (a *app) object(value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return a.raw(raw)
}

func (a *app) restore() *cobra.Command {
	var to place
	cmd := &cobra.Command{
		Use:   "restore FILE (--state-dir DIR | --automator-config FILE)",
		Short: "Put a backup back, while the automator does not run",
		Long: `Put a backup back, while the automator does not run.

What was there is kept: beside the store in the state folder, and beside the backup with PostgreSQL. A backup of either
engine can be restored into the other, which is how to move. Whoever was revoked after the backup was made is not revoked any more:
revoke them again. ` + notIncluded,
		Example: "  tandem restore tandem-2026-03-01.db --state-dir /var/lib/tandem\n  tandem restore tandem-2026-03-01.db --automator-config automator.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := to.store()
			if err != nil {
				return err
			}
			aside, err := store.Restore(cmd.Context(), args[0], cfg)
			if err != nil {
				return err
			}
			if a.format != formatTable {
				return a.object(map[string]any{"restored": args[0], "setAside": aside})
			}
			fmt.Fprintf(a.out, "%s is restored. Start the automator, and revoke again whom you revoked since it was made.\n", args[0])
			if aside != "" {
				fmt.Fprintf(a.out, "What was there before is in %s.\n", aside)
			}
			return nil
		},
	}
	to.flags(cmd)
	cmd.MarkFlagsOneRequired("state-dir", "automator-config")
	return cmd
}
