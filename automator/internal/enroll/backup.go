package enroll

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	"github.com/tandem-cd/tandem/shared/fault"
)

// backupChunk is how many bytes of a backup one message carries.
const backupChunk = 128 << 10

// backups lets one backup run at a time: each needs as much disk as the store.
type backups struct{ running atomic.Bool }

// Backup sends a consistent copy of the store.
func (a *Admin) Backup(_ *enrollmentv1.BackupRequest, stream grpc.ServerStreamingServer[enrollmentv1.BackupResponse]) (err error) {
	if !a.backups.running.CompareAndSwap(false, true) {
		return fault.New(fault.Conflict, "another backup is running; try again when it is done")
	}
	defer a.backups.running.Store(false)
	dir, err := os.MkdirTemp("", "tandem-backup-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	copied := filepath.Join(dir, "store")
	if err := a.service.deps.Store.Snapshot(stream.Context(), copied); err != nil {
		return err
	}
	file, err := os.Open(copied)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := send(file, sha256.New(), stream)
	if err == nil {
		a.service.deps.Log.Info("backup taken", zap.String("by", callerName(stream.Context())), zap.Int64("bytes", size))
	}
	return err
}

func send(from io.Reader, sum hash.Hash, stream grpc.ServerStreamingServer[enrollmentv1.BackupResponse]) (size int64, err error) {
	buffer := make([]byte, backupChunk)
	for {
		n, err := io.ReadFull(from, buffer)
		sum.Write(buffer[:n])
		size += int64(n)
		if n > 0 {
			if err := stream.Send(&enrollmentv1.BackupResponse{Chunk: append([]byte(nil), buffer[:n]...)}); err != nil {
				return size, err
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return size, stream.Send(&enrollmentv1.BackupResponse{Sha256: sum.Sum(nil)})
		case err != nil:
			return size, fmt.Errorf("read the copy: %w", err)
		}
	}
}
