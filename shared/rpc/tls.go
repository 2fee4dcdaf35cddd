package rpc

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// TLSFiles names the files of a TLS identity. They are read anew for every handshake, so that replacing them is enough
// to rotate.
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
	if _, err := f.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			loaded, err := f.load()
			if err != nil {
				return nil, err
			}
			cfg := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: loaded.Certificates, NextProtos: []string{"h2"}}
			if f.CA != "" {
				cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, loaded.RootCAs
			}
			return cfg, nil
		},
	}, nil
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
