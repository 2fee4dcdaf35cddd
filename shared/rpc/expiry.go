package rpc

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

// Expiry returns when the first certificate in a PEM file ends.
func Expiry(file string) (time.Time, error) {
	certificates, err := ReadCertificates(file)
	if err != nil {
		return time.Time{}, err
	}
	return certificates[0].NotAfter, nil
}

// ReadCertificates returns the certificates in a PEM file, at least one.
func ReadCertificates(file string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var found []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return found, nil
}
