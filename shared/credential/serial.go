package credential

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"time"
)

// A serial number of ours has 17 bytes: a mark, the time of issue in microseconds since 1970, and 8 random bytes. So a
// certificate says itself when it was issued, exactly enough to be told from its successor, also to an authority that
// has lost every record of it.
const (
	serialMark  = 0x54
	serialBytes = 17
)

// NewSerial returns a serial number for a certificate that is issued now.
func NewSerial(at time.Time) *big.Int {
	raw := make([]byte, serialBytes)
	raw[0] = serialMark
	binary.BigEndian.PutUint64(raw[1:9], uint64(at.UnixMicro()))
	_, _ = rand.Read(raw[9:]) // never fails
	return new(big.Int).SetBytes(raw)
}

// IssuedAt returns when a certificate was issued. For a certificate that another tool made it is the start of its
// validity.
func IssuedAt(cert *x509.Certificate) time.Time {
	raw := cert.SerialNumber.Bytes()
	if len(raw) != serialBytes || raw[0] != serialMark || cert.SerialNumber.Sign() < 0 {
		return cert.NotBefore
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(raw[1:9]))).UTC()
}

// RenewAt returns when a certificate is to be renewed: at half of its life.
func RenewAt(cert *x509.Certificate) time.Time {
	issued := IssuedAt(cert)
	return issued.Add(cert.NotAfter.Sub(issued) / 2)
}
