package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// pathTimeout bounds one look at an address.
const pathTimeout = 15 * time.Second

// Shown is what answers at an address.
type Shown struct {
	// Chain is what it shows in a TLS handshake, its own certificate first. Nothing of it was verified.
	Chain []*x509.Certificate
	// Proxy is the host of the proxy on the way; empty for none.
	Proxy string
}

// Look shakes hands with an address as a dialler does, past no verification, through the proxy that the environment names.
func Look(ctx context.Context, address, serverName string) (Shown, error) {
	ctx, cancel := context.WithTimeout(ctx, pathTimeout)
	defer cancel()
	via, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: address}})
	if err != nil {
		return Shown{}, errors.New("the proxy in the environment is not a URL") // err repeats it, and its password
	}
	shown := Shown{}
	dial := address
	if via != nil {
		shown.Proxy, dial = via.Host, via.Host
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", dial)
	if err != nil {
		return shown, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // a TCP connection has deadlines
	}
	if via != nil {
		if err := tunnel(ctx, conn, address, via.User); err != nil {
			return shown, fmt.Errorf("proxy %s: %w", via.Host, err)
		}
	}
	client := tls.Client(conn, &tls.Config{
		ServerName: serverName, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // what is shown is looked at, and nothing is sent
	})
	if err := client.HandshakeContext(ctx); err != nil {
		return shown, fmt.Errorf("TLS: %w", err)
	}
	shown.Chain = client.ConnectionState().PeerCertificates
	return shown, nil
}

// tunnel asks a proxy for the way to an address.
func tunnel(ctx context.Context, conn net.Conn, address string, user *url.Userinfo) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodConnect, "http://"+address, http.NoBody)
	if err != nil {
		return err
	}
	request.URL = &url.URL{Opaque: address}
	if user != nil {
		password, _ := user.Password()
		as := &http.Request{Header: http.Header{}}
		as.SetBasicAuth(user.Username(), password)
		request.Header.Set("Proxy-Authorization", as.Header.Get("Authorization"))
	}
	if err := request.Write(conn); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answers CONNECT with %d", response.StatusCode)
	}
	return nil
}

// Path looks at the way to an automator, and whether something on it ends TLS. It reports whether something answered.
// trusted are the authorities that the automator's certificate should descend from; proxied says that a proxy is meant to
// be there.
func (r *Report) Path(ctx context.Context, address, serverName string, trusted []*x509.Certificate, proxied bool) bool {
	const check = "path"
	shown, err := Look(ctx, address, serverName)
	via := ""
	if shown.Proxy != "" {
		via = " through the proxy " + shown.Proxy
	}
	if err != nil {
		r.Fail(check, "check the address, DNS, firewalls, network policies, and HTTPS_PROXY; one outbound TCP connection is needed", "%s does not answer%s: %v", address, via, err)
		return false
	}
	own := shown.Chain[0]
	switch descends := signedBy(shown.Chain, trusted); {
	case descends && proxied:
		r.Warn(check, "remove automator.proxy.terminatesTLS", "nothing ends TLS on the way to %s%s, although a proxy is configured that does", address, via)
	case descends:
		r.Ok(check, "%s answers%s, and nothing on the way ends TLS", address, via)
	case proxied:
		r.Ok(check, "%s answers%s, by a proxy that ends TLS with a certificate of %q", address, via, own.Issuer.String())
	case len(trusted) == 0:
		r.Warn(check, "enroll this cluster; then it knows whom to trust", "%s answers%s with a certificate of %q, and no authority is known here yet", address, via, own.Issuer.String())
	default:
		r.Fail(check, "let the proxy pass TLS through, or configure automator.proxy; if there is none, this is another automator than the one that is trusted",
			"%s answers%s with a certificate of %q, which is not signed by an authority that is trusted: something ends TLS in between", address, via, own.Issuer.String())
	}
	if err := own.VerifyHostname(serverName); err != nil {
		r.Fail("name", "add it to authority.serverNames of the automator, or set automator.serverName", "the certificate that %s shows is not for %q", address, serverName)
	}
	r.Expiry("the certificate of "+address, own.NotBefore, own.NotAfter, "the automator renews its own certificate; look into its log, or renew the file of tls.cert")
	return true
}

func signedBy(chain, trusted []*x509.Certificate) bool {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, cert := range trusted {
		roots.AddCert(cert)
	}
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	// When it counts is judged apart.
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: chain[0].NotAfter.Add(-time.Second)})
	return err == nil
}
