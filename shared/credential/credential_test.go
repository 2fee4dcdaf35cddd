package credential_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
)

// now is when the tests happen.
var now = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

const (
	audience = "tandem.example.com"
	method   = "/tandem.relay.v1.RelayService/Follow"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := credential.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func certify(t testing.TB, key *ecdsa.PrivateKey, serial *big.Int) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: serial, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestTokenRoundTrip(t *testing.T) {
	t.Parallel()
	hash, err := credential.HashKey(newKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	want := credential.NewToken(hash)
	got, err := credential.ParseToken(" " + want.String() + "\n")
	if err != nil || got != want || got.Hash() != want.Hash() {
		t.Errorf("ParseToken(String()): got %v, %v", got == want, err)
	}
	if other := credential.NewToken(hash); other.Hash() == want.Hash() {
		t.Error("two tokens have the same hash")
	}
}

func TestParseTokenRefuses(t *testing.T) {
	t.Parallel()
	token := credential.NewToken(credential.KeyHash{1}).String()
	parts := strings.Split(token, ".")
	cases := map[string]struct{ reason, text string }{
		"Empty":        {"An empty file is no token.", ""},
		"CutOff":       {"Copying by hand loses the end.", token[:len(token)-1]},
		"Longer":       {"Something was appended.", token + "A"},
		"OtherVersion": {"A later version means something else.", strings.Replace(token, "-1.", "-2.", 1)},
		"NoHash":       {"Without the hash nobody could recognise the automator.", parts[0] + "." + parts[1]},
		"Huge":         {"Input is bounded.", token + strings.Repeat(" ", 10) + strings.Repeat("A", credential.MaxToken)},
		"NotCanonical": {"One token has one text, so that one hash finds it.", parts[0] + "." + parts[1][:42] + "_." + parts[2]},
		"BreakInside":  {"A base64 decoder would skip it.", parts[0] + "." + parts[1][:20] + "\n" + parts[1][20:] + "." + parts[2]},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := credential.ParseToken(tc.text); !fault.Is(err, fault.Invalid) || len(tc.text) > 20 && strings.Contains(err.Error(), parts[1][:20]) {
				t.Errorf("%s: ParseToken(...): got %v", tc.reason, err)
			}
		})
	}
}

func TestSerialTellsWhenItWasIssued(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	first, second := credential.NewSerial(now), credential.NewSerial(now.Add(time.Microsecond))
	ours := certify(t, key, first)
	if got := credential.IssuedAt(ours); !got.Equal(now.Truncate(time.Microsecond)) {
		t.Errorf("IssuedAt(ours): got %v", got)
	}
	if !credential.IssuedAt(certify(t, key, second)).After(credential.IssuedAt(ours)) {
		t.Error("a certificate that was issued a microsecond later is not the later one")
	}
	if want := now.Truncate(time.Microsecond).Add(12 * time.Hour); credential.RenewAt(ours).Sub(want).Abs() > time.Second {
		t.Errorf("RenewAt(ours): got %v, want about %v", credential.RenewAt(ours), want)
	}
	foreign := certify(t, key, big.NewInt(7))
	if got := credential.IssuedAt(foreign); !got.Equal(foreign.NotBefore) {
		t.Errorf("IssuedAt(foreign): got %v", got)
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	der, err := credential.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := credential.ParseRequest(der)
	if err != nil || !got.Equal(key.Public()) {
		t.Fatalf("ParseRequest(...): got %v, %v", got, err)
	}
	bent := append([]byte(nil), der...)
	bent[len(bent)-1] ^= 1
	large, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, large)
	if err != nil {
		t.Fatal(err)
	}
	for name, der := range map[string][]byte{
		"Empty": nil, "Text": []byte("request"), "Unsigned": bent, "OtherCurve": other, "Huge": make([]byte, credential.MaxRequest+1),
	} {
		if _, err := credential.ParseRequest(der); !fault.Is(err, fault.Invalid) {
			t.Errorf("ParseRequest(%s): got %v", name, err)
		}
	}
}

func TestPass(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	cert := certify(t, key, credential.NewSerial(now))
	text, err := credential.SignPass(key, cert, audience, method, now)
	if err != nil {
		t.Fatal(err)
	}
	pass, err := credential.ParsePass(text)
	if err != nil || !pass.Certificate.Equal(cert) {
		t.Fatalf("ParsePass(SignPass()): %v, %v", pass, err)
	}
	cases := map[string]struct {
		reason    string
		audiences []string
		method    string
		at        time.Time
		want      bool
	}{
		"Good":          {"It is what it is for.", []string{"other", audience}, method, now, true},
		"LateClock":     {"Clocks differ a little.", []string{audience}, method, now.Add(-credential.PassSkew), true},
		"OtherAudience": {"A pass for one automator is none for another.", []string{"other"}, method, now, false},
		"NoAudience":    {"Passes are off by default.", nil, method, now, false},
		"OtherMethod":   {"A captured pass opens one door only.", []string{audience}, method + "s", now, false},
		"Expired":       {"A captured pass is soon worthless.", []string{audience}, method, now.Add(credential.PassLife + credential.PassSkew + time.Second), false},
		"FromTheFuture": {"A pass cannot be made ahead.", []string{audience}, method, now.Add(-credential.PassSkew - 2*time.Second), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := pass.Check(tc.audiences, tc.method, tc.at)
			if (err == nil) != tc.want || err != nil && !fault.Is(err, fault.Unauthorized) {
				t.Errorf("%s: Check(...): got %v", tc.reason, err)
			}
		})
	}
}

func TestPassCannotBeForged(t *testing.T) {
	t.Parallel()
	key, thief := newKey(t), newKey(t)
	cert := certify(t, key, credential.NewSerial(now))
	stolen, err := credential.SignPass(thief, cert, audience, method, now) // somebody else's certificate
	if err != nil {
		t.Fatal(err)
	}
	good, err := credential.SignPass(key, cert, audience, method, now)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	encode := base64.RawURLEncoding.EncodeToString
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	cases := map[string]struct{ reason, text string }{
		"ForeignKey":  {"The certificate is public; the key is not.", stolen},
		"NoAlgorithm": {"The oldest trick against signed tokens.", encode([]byte(strings.Replace(string(header), "ES256", "none", 1))) + "." + parts[1] + "."},
		"OtherType":   {"A token that was made for something else.", encode([]byte(strings.Replace(string(header), "tandem-pass+jwt", "JWT", 1))) + "." + parts[1] + "." + parts[2]},
		"NoSignature": {"Nothing is no signature.", parts[0] + "." + parts[1] + "."},
		"Changed":     {"What is signed cannot change.", parts[0] + "." + encode([]byte(`{"aud":"x"}`)) + "." + parts[2]},
		"TwoParts":    {"It has three parts.", parts[0] + "." + parts[1]},
		"Huge":        {"Input is bounded.", good + strings.Repeat("A", credential.MaxPass)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := credential.ParsePass(tc.text); !fault.Is(err, fault.Unauthorized) {
				t.Errorf("%s: ParsePass(...): got %v", tc.reason, err)
			}
		})
	}
}

func TestKeysAndCertificatesInPEM(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	cert := certify(t, key, credential.NewSerial(now))
	encoded, err := credential.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := credential.ParseKey(encoded)
	if err != nil || !got.Equal(key) {
		t.Errorf("ParseKey(EncodeKey()): %v", err)
	}
	certs, err := credential.ParseCertificates(credential.EncodeCertificates(cert, cert))
	if err != nil || len(certs) != 2 || !certs[1].Equal(cert) {
		t.Errorf("ParseCertificates(EncodeCertificates()): got %d, %v", len(certs), err)
	}
	for name, data := range map[string][]byte{"Nothing": nil, "Text": []byte("x"), "Key": encoded, "TooMany": []byte(strings.Repeat(string(credential.EncodeCertificates(cert)), credential.MaxBundle+1))} {
		if _, err := credential.ParseCertificates(data); err == nil {
			t.Errorf("ParseCertificates(%s): no error", name)
		}
	}
	if _, err := credential.ParseKeys(credential.EncodeCertificates(cert)); err == nil {
		t.Error("ParseKeys(certificate): no error")
	}
}
