package tlsfiles_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tandem-cd/tandem/automator/internal/tlsfiles"
	"github.com/tandem-cd/tandem/shared/rpc"
	"github.com/tandem-cd/tandem/shared/rpc/rpctest"
)

// authority returns the files of a server of a new CA.
func authority(t *testing.T) rpc.TLSFiles {
	t.Helper()
	ca, err := rpctest.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Server("server")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func read(t *testing.T, files tlsfiles.Files) *tls.Config {
	t.Helper()
	config, err := files.Client()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestFiles(t *testing.T) {
	t.Parallel()
	mine := authority(t)
	alone := read(t, tlsfiles.Files{CAFile: mine.CA})
	only := x509.NewCertPool()
	if text, err := os.ReadFile(mine.CA); err != nil || !only.AppendCertsFromPEM(text) || !alone.RootCAs.Equal(only) {
		t.Errorf("more than what is in the file counts, or not that: %v", err)
	}
	besides := read(t, tlsfiles.Files{CAFile: mine.CA, BesidesSystem: true})
	if system := read(t, tlsfiles.Files{BesidesSystem: true}); system.RootCAs != nil || besides.RootCAs.Equal(alone.RootCAs) {
		t.Error("the system's certificates do not count besides those in the file")
	}
	if shown := read(t, tlsfiles.Files{CertFile: mine.Cert, KeyFile: mine.Key}); len(shown.Certificates) != 1 || shown.RootCAs != nil {
		t.Errorf("shown: %d certificates", len(shown.Certificates))
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	mine, other := authority(t), authority(t)
	missing, large := filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, tlsfiles.MaxCAFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		files tlsfiles.Files
		says  string
	}{
		"Missing":      {tlsfiles.Files{CAFile: missing}, "caFile: open " + missing},
		"TooLarge":     {tlsfiles.Files{CAFile: large}, "caFile: " + large + " is larger than 4194304 bytes"},
		"NoPEM":        {tlsfiles.Files{CAFile: mine.Key}, "no certificate in PEM"},
		"KeyOfAnother": {tlsfiles.Files{CertFile: mine.Cert, KeyFile: other.Key}, "clientCertFile: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := tc.files.Client(); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Client: %v, want %q", err, tc.says)
			}
		})
	}
}

// TestConnectionsAreKept while nothing changes in what they show and check.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	mine, other := authority(t), authority(t)
	files := tlsfiles.Files{CAFile: mine.CA, CertFile: mine.Cert, KeyFile: mine.Key}
	made := 0
	kept := tlsfiles.Connections{New: func(shown *tls.Config) *http.Transport {
		made++
		return &http.Transport{TLSClientConfig: shown}
	}}
	t.Cleanup(kept.CloseIdle)
	makes := func(when string, want int) {
		t.Helper()
		for range 2 {
			if kept.With(read(t, files)) == nil || made != want {
				t.Errorf("%s: %d transports, want %d", when, made, want)
			}
		}
	}
	makes("at first", 1)
	copyTo(t, mine.CA, mine.CA)
	makes("after the same was written", 1)
	copyTo(t, mine.CA, other.CA)
	makes("after another CA was written", 2)
	copyTo(t, mine.Cert, other.Cert)
	copyTo(t, mine.Key, other.Key)
	makes("after another certificate was written", 3)
	files = tlsfiles.Files{}
	makes("without any", 4)
}

// copyTo writes what is in one file into another.
func copyTo(t *testing.T, to, from string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
