//go:build unix

package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// startTimeout bounds a start and a stop.
	startTimeout = time.Minute
	// probeEvery is how often a server that starts is asked.
	probeEvery = 50 * time.Millisecond

	certificateFile = "server.crt"
	keyFile         = "server.key"
	logFile         = "log"
	dataFolder      = "data"
)

// errMissing says what to do without a server.
var errMissing = errors.New("PostgreSQL is missing, and the store is tested on a real one: run `make postgres` (Debian, as root), or install the package with the server on your system")

// onLeash becomes a server that ends when its input does: when this process closes it, or is gone for whatever reason.
const onLeash = `exec 3<&0; { read -r _ <&3; kill -QUIT $$; } & exec "$@" </dev/null 3<&-`

// access lets the superuser in over the socket, and everybody else by password and TLS.
const access = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n" //nolint:dupword // two columns

// Server is a PostgreSQL server with a folder of its own. It does not outlive the process that started it.
type Server struct {
	programs, dir string
	port          int
	owner         *syscall.Credential // nil for this process's own
	leash         *os.File            // closing it ends the server
	process       *exec.Cmd
}

// Start makes a server in a new folder and waits until it answers.
func Start(ctx context.Context) (*Server, error) {
	s := &Server{}
	if err := s.make(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if err := s.Resume(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close stops the server and removes its folder.
func (s *Server) Close() error {
	return errors.Join(s.Stop(), os.RemoveAll(s.dir))
}

// Stop ends the server at once, as "pg_ctl stop -m immediate" does. What was committed stays.
func (s *Server) Stop() error {
	if s.leash == nil {
		return nil
	}
	err := s.leash.Close()
	s.leash = nil
	_ = s.process.Wait() // its code is that of the server, which was told to crash
	return err
}

// Kill ends the server's first process by a signal that it cannot handle; the others notice and end too.
func (s *Server) Kill() error {
	if err := s.process.Process.Kill(); err != nil {
		return err
	}
	return s.Stop()
}

// Resume starts the server on what it had and waits until it answers.
func (s *Server) Resume(ctx context.Context) error {
	deadline := time.Now().Add(startTimeout)
	for {
		err := s.resume(ctx)
		// After a kill the others may need a moment until they have let go of the memory that they share.
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(probeEvery)
	}
}

func (s *Server) resume(ctx context.Context) error {
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	// A new file: processes of a server that was killed may write to the old one yet.
	path := filepath.Join(s.dir, logFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, out.Close())
	}
	log, err := os.Create(path)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	defer log.Close()
	s.process = s.command("sh", "-c", onLeash, "sh", filepath.Join(s.programs, "postgres"), "-D", filepath.Join(s.dir, dataFolder), "-k", s.dir, "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300", "-c", "shared_buffers=16MB", "-c", "fsync=off",
		"-c", "ssl=on", "-c", "ssl_cert_file="+filepath.Join(s.dir, certificateFile), "-c", "ssl_key_file="+filepath.Join(s.dir, keyFile))
	s.process.Stdin, s.process.Stdout, s.process.Stderr = in, log, log
	if err := s.process.Start(); err != nil {
		return errors.Join(err, out.Close())
	}
	s.leash = out
	if err := s.ready(ctx); err != nil {
		return errors.Join(fmt.Errorf("start PostgreSQL: %w\n%s", err, s.said()), s.Stop())
	}
	return nil
}

// ready waits until the server answers, or has said that it does not start.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.socket("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		for line := range strings.Lines(s.said()) {
			if strings.Contains(line, "FATAL:") && !strings.Contains(line, "the database system is") { // that one it tells callers
				return err
			}
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(probeEvery):
		}
	}
}

func (s *Server) said() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, logFile)) // without it there is less to say
	return string(text)
}

func (s *Server) socket(database string) string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", s.dir, s.port, database)
}

// make lays out the folder.
func (s *Server) make() (err error) {
	if s.programs, err = programs(); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "tandem-pg-"); err != nil { // short: the path of a socket has at most 107 bytes
		return err
	}
	if s.port, err = freePort(); err != nil {
		return err
	}
	if err := writeCertificate(s.dir); err != nil {
		return err
	}
	if err := s.giveAway(); err != nil {
		return err
	}
	data := filepath.Join(s.dir, dataFolder)
	initdb := s.command(filepath.Join(s.programs, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if said, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, said)
	}
	return os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(access), 0o600)
}

// giveAway hands the folder to somebody without rights when this process is root's, whom the server refuses to run for.
func (s *Server) giveAway() error {
	if os.Getuid() != 0 {
		return nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		if who, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	uid, errUID := strconv.ParseUint(who.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(who.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		return err
	}
	s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	paths, err := filepath.Glob(filepath.Join(s.dir, "*"))
	if err != nil {
		return err
	}
	for _, path := range append(paths, s.dir) {
		if err := os.Chown(path, int(uid), int(gid)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...) //nolint:noctx // it ends with its leash
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	return cmd
}

// programs returns the folder of the newest server that is installed.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // Debian's, several versions side by side
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		newest := slices.MaxFunc(found, func(a, b string) int { return major(a) - major(b) })
		return filepath.Dir(newest), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", errMissing
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	return filepath.Dir(path), nil
}

// major returns the version in /usr/lib/postgresql/15/bin/postgres, 0 for none.
func major(path string) int {
	version, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return version
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close() //nolint:forcetypeassert // of a TCP listener
}
