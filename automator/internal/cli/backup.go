package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/tandem-cd/tandem/automator/internal/store"
	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
)

// notIncluded is said with every backup.
const notIncluded = "The authority's key is not in it: keep ca.crt and ca.key yourself. What runs and what was decided is in Git."

func (a *app) backup() *cobra.Command {
	var stateDir string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Save the automator's store: revocations, tokens, events, what is known of tags",
		Long: `Save the automator's store: revocations, tokens, events, what is known of tags.

The copy is consistent, and the automator works on while it is made. ` + notIncluded + `

It is asked for over the network by an admin, or read from the state folder where the automator runs (--state-dir).`,
		Example: "  tandem backup tandem-2026-03-01.db\n  tandem backup --state-dir /var/lib/tandem tandem.db",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if stateDir != "" {
				if err := store.SnapshotFile(cmd.Context(), filepath.Join(stateDir, store.FileName), args[0]); err != nil {
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
	cmd.Flags().StringVar(&stateDir, "state-dir", "", "the automator's stateDir, to read from it instead of asking the automator")
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
	var stateDir string
	cmd := &cobra.Command{
		Use:   "restore FILE --state-dir DIR",
		Short: "Put a backup back, while the automator does not run",
		Long: `Put a backup back, while the automator does not run.

What was in the state folder is kept beside it. Whoever was revoked after the backup was made is not revoked any more:
revoke them again. ` + notIncluded,
		Example: "  tandem restore tandem-2026-03-01.db --state-dir /var/lib/tandem",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(stateDir, 0o700); err != nil {
				return err
			}
			aside, err := store.Restore(cmd.Context(), args[0], filepath.Join(stateDir, store.FileName))
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
	cmd.Flags().StringVar(&stateDir, "state-dir", "", "the automator's stateDir")
	_ = cmd.MarkFlagRequired("state-dir")
	return cmd
}
