package rpc

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"
)

// TLSFiles names the files of a TLS identity. Every handshake looks whether they changed, so that replacing them is
// enough to rotate.
type TLSFiles struct {
	// Cert is the certificate chain in PEM.
	Cert string `yaml:"cert"`
	// Key is the private key in PEM.
	Key string `yaml:"key"`
	// CA holds the certificates that sign peers, in PEM.
	CA string `yaml:"ca"`
}

// Server returns the configuration of a listener that demands a client certificate signed by CA. With an empty CA no
// client certificate is asked for.
func (f TLSFiles) Server() (*tls.Config, error) {
	loaded := &loadedFiles{files: f}
	if _, err := loaded.server(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return loaded.server() },
	}, nil
}

// loadedFiles keeps what was read from files until one of them changes: reading and parsing them costs as much as the
// rest of a handshake, and every connection would keep its own copy of the CA.
type loadedFiles struct {
	files TLSFiles
	mu    sync.Mutex
	seen  [3]fileMark
	last  *tls.Config
}

// fileMark tells one content of a file from another.
type fileMark struct {
	modified time.Time
	size     int64
}

// server returns the configuration of a handshake. While files are being replaced and do not fit each other, it is the
// last one that did.
func (l *loadedFiles) server() (*tls.Config, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.files.marks()
	if l.last != nil && now == l.seen {
		return l.last, nil
	}
	loaded, err := l.files.load()
	if err != nil {
		if l.last != nil {
			return l.last, nil
		}
		return nil, err
	}
	// Nobody resumes a session: each handshake checks the certificate anew, and tickets would be made for nothing.
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: loaded.Certificates, NextProtos: []string{http2}, SessionTicketsDisabled: true}
	if l.files.CA != "" {
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, loaded.RootCAs
	}
	l.seen, l.last = now, cfg
	return cfg, nil
}

func (f TLSFiles) marks() (marks [3]fileMark) {
	for i, name := range []string{f.Cert, f.Key, f.CA} {
		if info, err := os.Stat(name); err == nil {
			marks[i] = fileMark{modified: info.ModTime(), size: info.Size()}
		}
	}
	return marks
}

// Client returns the configuration of a dialler that trusts CA only and, when Cert is set, shows its certificate.
// The CA is read now; the certificate for every handshake.
func (f TLSFiles) Client(serverName string) (*tls.Config, error) {
	loaded, err := f.load()
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: loaded.RootCAs, ServerName: serverName}
	if f.Cert != "" {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			fresh, err := f.load()
			if err != nil {
				return nil, err
			}
			return &fresh.Certificates[0], nil
		}
	}
	return cfg, nil
}

func (f TLSFiles) load() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS13}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if f.CA == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("load CA: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load CA: %s holds no certificate in PEM", f.CA)
	}
	return cfg, nil
}
