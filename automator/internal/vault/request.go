package vault

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/samesite"
	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/redact"
)

// Limits on one request.
const (
	connectTimeout = 5 * time.Second
	requestTimeout = 10 * time.Second
	// maxAnswerBytes bounds an answer: Vault takes secrets of 1 MiB at most.
	maxAnswerBytes = 2 << 20
	maxHeaderBytes = 64 << 10
	maxReasonBytes = 300
	maxRedirects   = 2
)

// request is one call of the API.
type request struct {
	operation string // in metrics
	method    string
	path      string // below /v1/
	token     string // empty to log in
	body      any    // nil for none
}

// answer is what is read of an answer.
type answer struct {
	LeaseID       string                     `json:"lease_id"`
	LeaseDuration int64                      `json:"lease_duration"` // in seconds
	Data          map[string]json.RawMessage `json:"data"`
	Auth          struct {
		ClientToken   string `json:"client_token"`
		LeaseDuration int64  `json:"lease_duration"` // in seconds; 0 for a token without an end
		Renewable     bool   `json:"renewable"`
	} `json:"auth"`
	Errors []string `json:"errors"`
}

// refusal is an answer that says no.
type refusal struct {
	status int
	said   string
	data   map[string]json.RawMessage
}

// Error says what Vault said.
func (r *refusal) Error() string {
	text := fmt.Sprintf("Vault answers %d", r.status)
	if r.said != "" {
		text += ": " + r.said
	}
	if r.sealed() {
		text += "; somebody has to unseal it"
	}
	return text
}

func (r *refusal) sealed() bool {
	return r.status == http.StatusServiceUnavailable && strings.Contains(r.said, "sealed")
}

// says tells whether an error is a refusal with a status.
func says(err error, status int) bool {
	refused, ok := errors.AsType[*refusal](err)
	return ok && refused.status == status
}

// ask sends a request. Its errors have no secret in them; they are of kind Unavailable where asking again may help, and
// shortlived.ErrUnheard unless Vault itself refused, which it does with errors, or with the data of a secret that is deleted.
func (c *Client) ask(ctx context.Context, r request) (answer, error) {
	status, body, err := c.send(ctx, r)
	c.metrics.answered(r.operation, status)
	if err != nil {
		return answer{}, shortlived.Unheard(err)
	}
	var got answer
	decoded := json.Unmarshal(body, &got)
	switch {
	case status != http.StatusOK && (decoded != nil || got.Errors == nil && got.Data == nil):
		return answer{}, c.noVault(shortlived.KindOfStatus(status), fmt.Sprintf("it answers %d, and not as Vault does", status))
	case status != http.StatusOK:
		said := redact.OneLine(c.secrets.Text(strings.Join(got.Errors, "; ")), maxReasonBytes)
		return answer{}, fault.Wrap(shortlived.KindOfStatus(status), &refusal{status: status, said: said, data: got.Data})
	case decoded != nil:
		return answer{}, c.noVault(fault.Unauthorized, "the answer is not JSON")
	}
	return got, nil
}

// noVault is the error of an answer that no Vault gives.
func (c *Client) noVault(kind fault.Kind, why string) error {
	return shortlived.Unheard(fault.New(kind, "what answers at %s is no Vault: %s", c.cfg.Address, why))
}

// send returns the status and the body of the answer to a request; the status is 0 where none came.
func (c *Client) send(ctx context.Context, r request) (status int, body []byte, err error) {
	connection, err := c.cfg.connection()
	if err != nil {
		return 0, nil, err
	}
	client := c.newClient(connection)
	defer client.CloseIdleConnections()
	var content io.Reader
	if r.body != nil {
		encoded, err := json.Marshal(r.body)
		if err != nil {
			return 0, nil, err
		}
		content = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.base.JoinPath("v1", r.path).String(), content)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("X-Vault-Request", "true")
	if r.token != "" {
		req.Header.Set("X-Vault-Token", r.token)
	}
	if c.cfg.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", c.cfg.Namespace)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, c.unanswered(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(http.MaxBytesReader(nil, resp.Body, maxAnswerBytes))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return 0, nil, fmt.Errorf("the answer has more than %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return 0, nil, c.unanswered(err)
	}
	return resp.StatusCode, body, nil
}

// unanswered is the error of a request without an answer, in one line: parts of it may be foreign.
func (c *Client) unanswered(err error) error {
	err = shortlived.Unanswered(err)
	return fault.New(fault.KindOf(err), "%s", redact.OneLine(c.secrets.Text(err.Error()), maxReasonBytes))
}

// newClient follows redirects to other nodes of the same Vault, and shows its token to nobody else. It speaks HTTP/1.1: in
// HTTP/2 a server that asks for a certificate looks, now and then, like one that broke off.
func (c *Client) newClient(connection *tls.Config) *http.Client {
	return &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: c.checkRedirect,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            c.dial,
			TLSHandshakeTimeout:    connectTimeout,
			TLSClientConfig:        connection,
			MaxResponseHeaderBytes: maxHeaderBytes,
		},
	}
}

// checkRedirect lets a standby node send us to the active one; see "High availability mode" in Vault's documentation.
func (c *Client) checkRedirect(req *http.Request, via []*http.Request) error {
	host := req.URL.Hostname()
	listed := slices.Contains(c.cfg.RedirectHosts, host)
	switch {
	case len(via) > maxRedirects:
		return fault.New(fault.Unavailable, "Vault redirects more than %d times", maxRedirects)
	case req.Response.StatusCode != http.StatusTemporaryRedirect && req.Response.StatusCode != http.StatusPermanentRedirect:
		return fault.New(fault.Unauthorized, "what answers at %s redirects with %d, which no node of Vault does", c.cfg.Address, req.Response.StatusCode)
	case req.URL.Scheme != c.base.Scheme:
		return fault.New(fault.Unauthorized, "Vault redirects from %s to %s", c.base.Scheme, req.URL.Scheme)
	case !listed && portOf(req.URL) != portOf(c.base):
		return fault.New(fault.Unauthorized, "Vault redirects to port %s of %.100q; name the host in redirectHosts if that is a node of this Vault", portOf(req.URL), host)
	case !listed && !samesite.Same(host, c.base.Hostname()):
		return fault.New(fault.Unauthorized, "Vault redirects to %.100q, which is another site; name it in redirectHosts if it is a node of this Vault", host)
	}
	return nil
}

// portOf is the port that a URL is asked at.
func portOf(of *url.URL) string {
	standard := map[string]string{"http": "80", "https": "443"}
	return cmp.Or(of.Port(), standard[of.Scheme])
}
