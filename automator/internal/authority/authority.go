package authority

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/credential"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/rpc"
)

const (
	// DefaultLife is how long a cluster's and the automator's own certificate live.
	DefaultLife = 24 * time.Hour
	// MaxLife bounds what can be configured: a longer life makes revocation in a lost store matter for longer.
	MaxLife = 30 * 24 * time.Hour
	// RenewWithin is how long after it expired a certificate can still be renewed.
	RenewWithin = 30 * 24 * time.Hour

	// backdate is how far before its issue a certificate begins to be valid, for clocks that are late.
	backdate = time.Hour
	// lookAgain is how often the files are looked at; a mounted Secret takes a minute to change anyway.
	lookAgain = 5 * time.Second
)

// Config says where the authority is and what it signs.
type Config struct {
	// CertFile holds the authority's certificate in PEM. While it rotates there are more: the first one signs, the others
	// are still trusted. The files are read anew when they change.
	CertFile string `yaml:"certFile"`
	// KeyFile holds the key of the first certificate in PEM, and the keys of others: those who know only such another
	// authority can still verify this server.
	KeyFile string `yaml:"keyFile"`
	// ServerNames are the DNS names and IP addresses by which clusters and people call this automator.
	ServerNames []string `yaml:"serverNames"`
	// CertificateLife is how long certificates live; 24h by default, renewed at half of it.
	CertificateLife config.Duration `yaml:"certificateLife"`
}

// Given reports whether there is an authority.
func (c Config) Given() bool {
	return c.CertFile != "" || c.KeyFile != "" || len(c.ServerNames) > 0 || c.CertificateLife != 0
}

// Validate returns every problem.
func (c Config) Validate() error {
	var problems []error
	if c.CertFile == "" {
		problems = append(problems, errors.New("authority.certFile is missing: the authority's certificate in PEM; make one with `tandem ca create`"))
	}
	if c.KeyFile == "" {
		problems = append(problems, errors.New("authority.keyFile is missing: the authority's key in PEM"))
	}
	if len(c.ServerNames) == 0 {
		problems = append(problems, errors.New("authority.serverNames is empty: the names by which clusters call this automator, such as tandem.example.com"))
	}
	if life := time.Duration(c.CertificateLife); life < 0 || life > MaxLife {
		problems = append(problems, fmt.Errorf("authority.certificateLife is %s; want more than 0 and at most %s", life, MaxLife))
	}
	return errors.Join(problems...)
}

// Authority signs certificates. It is safe for concurrent use.
type Authority struct {
	cfg Config
	key *ecdsa.PrivateKey // of the server's own certificate; it lives as long as the process

	mu      sync.Mutex
	bundle  *bundle
	files   [2]stamp
	looked  time.Time
	problem error
	serving *tls.Certificate

	config    *tls.Config // of a handshake
	configFor handshakeOf
}

// handshakeOf is what the configuration of a handshake is made of.
type handshakeOf struct {
	own     *tls.Certificate
	trusted *bundle
}

// stamp tells whether a file changed.
type stamp struct {
	modified time.Time
	size     int64
}

// Open reads the authority's files.
func Open(cfg Config) (*Authority, error) {
	key, err := credential.NewKey()
	if err != nil {
		return nil, err
	}
	a := &Authority{cfg: cfg, key: key}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.read(now); a.problem != nil {
		return nil, a.problem
	}
	_, err = a.server(now)
	return a, err
}

// read takes what the files hold now. When it is not usable, what was read before goes on.
func (a *Authority) read(now time.Time) {
	a.looked = now
	files, err := a.stamps()
	if err != nil {
		a.problem = err
		return
	}
	if a.bundle != nil && files == a.files && a.problem == nil {
		return
	}
	b, err := readBundle(a.cfg, now)
	if err != nil {
		a.problem = err
		return
	}
	a.bundle, a.files, a.problem, a.serving = b, files, nil, nil
}

func (a *Authority) stamps() (both [2]stamp, err error) {
	for i, path := range []string{a.cfg.CertFile, a.cfg.KeyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return both, fmt.Errorf("authority: %w", err)
		}
		both[i] = stamp{modified: info.ModTime(), size: info.Size()}
	}
	return both, nil
}

func readBundle(cfg Config, now time.Time) (*bundle, error) {
	certs, err := config.ReadSecret(cfg.CertFile)
	if err != nil {
		return nil, fmt.Errorf("authority.certFile: %w", err)
	}
	keys, err := config.ReadSecret(cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("authority.keyFile: %w", err)
	}
	b, err := parseBundle([]byte(certs+"\n"), []byte(keys+"\n"), now)
	if err != nil {
		return nil, fmt.Errorf("authority (%s, %s): %w", cfg.CertFile, cfg.KeyFile, err)
	}
	return b, nil
}

// present returns what counts now, after a look at the files when the last one was a while ago.
func (a *Authority) present(now time.Time) *bundle {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.looked) >= lookAgain {
		a.read(now)
	}
	return a.bundle
}

// Problem returns why the files could not be read anew; nil when all is well.
func (a *Authority) Problem() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.problem
}

func (a *Authority) life() time.Duration { return a.cfg.CertificateLife.Or(DefaultLife) }

// Pin returns the hash of the key that signs now, which tokens carry.
func (a *Authority) Pin() credential.KeyHash { return a.present(time.Now()).active().hash }

// Issue signs a certificate for somebody's key. issued is when it counts as issued. It also returns the key that signed.
func (a *Authority) Issue(public *ecdsa.PublicKey, id rpc.Identity, issued time.Time) (*x509.Certificate, credential.KeyHash, error) {
	active := a.present(time.Now()).active()
	cert, err := issue(active, public, id, issued, a.life())
	return cert, active.hash, err
}

// Known is a trusted authority.
type Known struct {
	// Certificate is its certificate, Hash names its key.
	Certificate *x509.Certificate
	Hash        credential.KeyHash
	// Serves says that those who know only this one can verify this server: its key is there.
	Serves bool
}

// Known returns every trusted authority, the one that signs first.
func (a *Authority) Known() []Known {
	var all []Known
	for _, one := range a.present(time.Now()).cas {
		all = append(all, Known{Certificate: one.cert, Hash: one.hash, Serves: one.key != nil})
	}
	return all
}

func issue(by ca, public *ecdsa.PublicKey, id rpc.Identity, issued time.Time, life time.Duration) (*x509.Certificate, error) {
	template := leaf(by, id.String(), issued, life)
	template.URIs = []*url.URL{rpc.IdentityURI(id)}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	cert, err := sign(template, by, public)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %s: %w", id, err)
	}
	return cert, nil
}

func leaf(by ca, name string, issued time.Time, life time.Duration) *x509.Certificate {
	until := issued.Add(life)
	if by.cert.NotAfter.Before(until) {
		until = by.cert.NotAfter
	}
	return &x509.Certificate{
		SerialNumber: credential.NewSerial(issued), Subject: pkix.Name{CommonName: name},
		NotBefore: issued.Add(-backdate), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

// Verify returns whom a certificate names if a trusted authority signed it and it is valid at now, or has expired for no
// longer than late. Failures are Unauthorized faults.
func (a *Authority) Verify(cert *x509.Certificate, now time.Time, late time.Duration) (rpc.Identity, error) {
	at := now
	if now.After(cert.NotAfter) {
		if now.Sub(cert.NotAfter) > late {
			return rpc.Identity{}, fault.New(fault.Unauthorized, "the certificate expired at %s, longer ago than %s; enroll again with a token of `tandem cluster enroll NAME --replace`", cert.NotAfter.UTC().Format(time.RFC3339), late)
		}
		at = cert.NotAfter
	}
	_, err := cert.Verify(x509.VerifyOptions{
		Roots: a.present(now).pool, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return rpc.Identity{}, fault.New(fault.Unauthorized, "the certificate does not count: %w; check the clocks of both sides, or enroll again", err)
	}
	return rpc.IdentityOf(cert)
}

// ServerTLS returns the configuration of a listener that shows a certificate of this authority, and verifies the
// certificates of those who show one. Who shows none has to be known by other means.
func (a *Authority) ServerTLS() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return a.handshake(time.Now()) },
	}
}

// handshake returns the configuration of a handshake. It is the same until the certificate or the trusted authorities
// change: every connection keeps the one that it was made with.
func (a *Authority) handshake(now time.Time) (*tls.Config, error) {
	b := a.present(now)
	a.mu.Lock()
	defer a.mu.Unlock()
	own, err := a.server(now)
	if err != nil {
		return nil, err
	}
	if of := (handshakeOf{own, b}); a.configFor != of {
		// Nobody resumes a session: each handshake checks the certificate anew, and tickets would be made for nothing.
		a.config = &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*own}, NextProtos: []string{"h2"},
			ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: b.pool, SessionTicketsDisabled: true,
		}
		a.configFor = of
	}
	return a.config, nil
}

// server returns the certificate that this automator shows, a new one after half of its life.
func (a *Authority) server(now time.Time) (*tls.Certificate, error) {
	if a.serving != nil && now.Before(credential.RenewAt(a.serving.Leaf)) {
		return a.serving, nil
	}
	template := leaf(a.bundle.active(), "tandem-automator", now, a.life())
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range a.cfg.ServerNames {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
	}
	cert, err := sign(template, a.bundle.active(), a.key.Public())
	if err != nil {
		return nil, fmt.Errorf("issue the server's certificate: %w", err)
	}
	chain := [][]byte{cert.Raw}
	for _, above := range a.bundle.chain {
		chain = append(chain, above.Raw)
	}
	a.serving = &tls.Certificate{Certificate: chain, PrivateKey: a.key, Leaf: cert}
	return a.serving, nil
}
