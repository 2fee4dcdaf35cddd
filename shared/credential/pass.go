package credential

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
)

const (
	// PassLife is how long a pass is good for: long enough for a slow proxy, too short to be worth stealing.
	PassLife = time.Minute
	// PassSkew is how far apart the clocks of the two sides may be.
	PassSkew = 30 * time.Second
	// MaxPass bounds a pass's text, in bytes: a certificate in base64 and a little.
	MaxPass = 8 << 10

	passAlgorithm = "ES256"
	passType      = "tandem-pass+jwt" //nolint:gosec // a type, and no secret
	passIDBytes   = 16
	sigHalf       = 32 // bytes of each number of a signature
)

// Pass says who makes one call, where TLS cannot: it is a JSON web signature in compact form (ES256) that carries the
// caller's certificate and is signed by its key. It is good for one method of one audience, once, for PassLife.
type Pass struct {
	// Audience is the name of the automator that the caller means.
	Audience string
	// Method is the full name of the gRPC method.
	Method string
	// ID is different for every pass.
	ID string
	// Issued and Expires bound it in time.
	Issued, Expires time.Time
	// Certificate says whose key signed. ParsePass has checked the signature, and not who signed the certificate.
	Certificate *x509.Certificate
}

type passHeader struct {
	Algorithm string   `json:"alg"`
	Type      string   `json:"typ"`
	Chain     [][]byte `json:"x5c"` // standard base64 of DER, as RFC 7515 wants it
}

type passClaims struct {
	Audience string `json:"aud"`
	Method   string `json:"mth"`
	ID       string `json:"jti"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// SignPass returns the text of a pass for one call.
func SignPass(key *ecdsa.PrivateKey, cert *x509.Certificate, audience, method string, at time.Time) (string, error) {
	header, err := json.Marshal(passHeader{Algorithm: passAlgorithm, Type: passType, Chain: [][]byte{cert.Raw}})
	if err != nil {
		return "", fmt.Errorf("sign pass: %w", err)
	}
	id := make([]byte, passIDBytes)
	_, _ = rand.Read(id) // never fails
	claims, err := json.Marshal(passClaims{
		Audience: audience, Method: method, ID: base64.RawURLEncoding.EncodeToString(id),
		Issued: at.Unix(), Expires: at.Add(PassLife).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("sign pass: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(header) + "." + encode(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return "", fmt.Errorf("sign pass: %w", err)
	}
	signature := make([]byte, 2*sigHalf)
	r.FillBytes(signature[:sigHalf])
	s.FillBytes(signature[sigHalf:])
	return signed + "." + encode(signature), nil
}

// ParsePass reads a pass and checks that the key of the certificate in it signed it. The caller has still to check the
// certificate, and the rest with Pass.Check. Every failure is an Unauthorized fault.
func ParsePass(text string) (Pass, error) {
	parts := strings.Split(text, ".")
	if len(text) > MaxPass || len(parts) != 3 {
		return Pass{}, badPass("it is no compact signature of at most %d bytes", MaxPass)
	}
	var header passHeader
	if err := decodeJSON(parts[0], &header); err != nil {
		return Pass{}, badPass("header: %w", err)
	}
	if header.Algorithm != passAlgorithm || header.Type != passType || len(header.Chain) != 1 || len(header.Chain[0]) > MaxCertificate {
		return Pass{}, badPass("its header is not one of type %s with %s and one certificate", passType, passAlgorithm)
	}
	cert, err := x509.ParseCertificate(header.Chain[0])
	if err != nil {
		return Pass{}, badPass("certificate: %w", err)
	}
	if err := checkSignature(cert, parts); err != nil {
		return Pass{}, err
	}
	var claims passClaims
	if err := decodeJSON(parts[1], &claims); err != nil {
		return Pass{}, badPass("claims: %w", err)
	}
	return Pass{
		Audience: claims.Audience, Method: claims.Method, ID: claims.ID,
		Issued: time.Unix(claims.Issued, 0), Expires: time.Unix(claims.Expires, 0), Certificate: cert,
	}, nil
}

func checkSignature(cert *x509.Certificate, parts []string) error {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return badPass("the key of its certificate is not ECDSA on P-256")
	}
	signature := make([]byte, 2*sigHalf)
	if !decodeExactly(signature, parts[2]) {
		return badPass("its signature has the wrong form")
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:sigHalf]), new(big.Int).SetBytes(signature[sigHalf:])
	if !ecdsa.Verify(key, digest[:], r, s) {
		return badPass("it is not signed by the key of its certificate")
	}
	return nil
}

// decodeJSON reads one JSON object in base64url without unknown keys.
func decodeJSON(text string, into any) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if decoder.More() {
		return fmt.Errorf("something follows the JSON object")
	}
	return nil
}

// Check reports whether a pass is for one of the names of this automator, for a method, and for now. It does not see
// whether the pass was used before. Every failure is an Unauthorized fault.
func (p Pass) Check(audiences []string, method string, now time.Time) error {
	switch {
	case !slices.Contains(audiences, p.Audience):
		return badPass("it is for %q; this automator is known as %q", p.Audience, audiences)
	case p.Method != method:
		return badPass("it is for method %q, not for %q", p.Method, method)
	case p.Expires.Sub(p.Issued) > PassLife || !p.Issued.Before(p.Expires):
		return badPass("it claims to be good for %s; at most %s is accepted", p.Expires.Sub(p.Issued), PassLife)
	case now.Before(p.Issued.Add(-PassSkew)):
		return badPass("it is from %s in the future; check the clocks of both sides", p.Issued.Sub(now).Round(time.Second))
	case now.After(p.Expires.Add(PassSkew)):
		return badPass("it expired %s ago; check the clocks of both sides", now.Sub(p.Expires).Round(time.Second))
	case len(p.ID) != base64.RawURLEncoding.EncodedLen(passIDBytes):
		return badPass("its id has %d bytes", len(p.ID))
	}
	return nil
}

// badPass is why a pass does not count.
func badPass(format string, args ...any) error {
	return fault.Wrap(fault.Unauthorized, fmt.Errorf("the pass is refused: %w", fmt.Errorf(format, args...)))
}
