// Package tlsfiles makes connections with certificates in files, as the files are now: whoever replaces one needs no restart.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
)

// MaxCAFile bounds a file of CAs, in bytes: many times what systems trust.
const MaxCAFile = 4 << 20

// Files are what connections to a server are made with. All are PEM.
type Files struct {
	// CAFile holds the certificates that the server's is checked against; empty means the system's.
	CAFile string
	// BesidesSystem has those in CAFile count besides the system's, not in their place.
	BesidesSystem bool
	// CertFile and KeyFile are the certificate that the server is shown, and its key without a passphrase; empty shows none.
	CertFile, KeyFile string
}

// Client reads the files into what a client needs.
func (f Files) Client() (*tls.Config, error) {
	client := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CAFile != "" {
		pem, err := readCAs(f.CAFile)
		if err != nil {
			return nil, fmt.Errorf("caFile: %w", err)
		}
		client.RootCAs = f.base()
		if !client.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("caFile: %s has no certificate in PEM", f.CAFile)
		}
	}
	if f.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("clientCertFile: %w", err)
		}
		client.Certificates = []tls.Certificate{pair}
	}
	return client, nil
}

func readCAs(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	pem, err := io.ReadAll(io.LimitReader(file, MaxCAFile+1))
	if len(pem) > MaxCAFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, MaxCAFile)
	}
	return pem, err
}

// base is what the certificates in CAFile are added to.
func (f Files) base() *x509.CertPool {
	if f.BesidesSystem {
		if system, err := x509.SystemCertPool(); err == nil {
			return system
		}
	}
	return x509.NewCertPool()
}
