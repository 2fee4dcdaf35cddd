// Package githost speaks the APIs of Git hosts, where the Git protocol does not reach.
package githost

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/redact"
)

const (
	// appUser is the name that goes with an installation's token.
	appUser = "x-access-token"
	// assertionLife is how long the proof of being the App counts; GitHub takes ten minutes at most.
	assertionLife = 9 * time.Minute
	// clockSkew is how far our clock may be ahead of the host's.
	clockSkew = time.Minute
	// maxAnswerBytes bounds an answer; one with a token has some hundred bytes, and more for each permission.
	maxAnswerBytes = 64 << 10
	// maxReasonBytes bounds what a host's words add to an error.
	maxReasonBytes = 300
	connectTimeout = 10 * time.Second
	requestTimeout = 30 * time.Second
)

// App is a GitHub App as it is installed where one repository is.
type App struct {
	// ID is the App's id or client id.
	ID string
	// Installation is the id of its installation at the owner of the repository.
	Installation string
	// KeyFile holds the App's private RSA key in PEM. It is read anew for each token.
	KeyFile string
	// API is the address of the host's API; empty means where GitHub has it for the remote: api.github.com, or /api/v3 of an
	// Enterprise Server.
	API string
}

// Given reports whether anything of it is.
func (a App) Given() bool { return a != App{} }

// Validate returns what is wrong for a remote.
func (a App) Validate(remote string) error {
	_, _, err := a.locate(remote)
	if err == nil && (!isNumber(a.Installation) || a.ID == "" || a.KeyFile == "") {
		err = errors.New("id, installation (a number) and keyFile go together")
	}
	return err
}

func isNumber(text string) bool {
	return text != "" && len(text) < 20 && strings.Trim(text, "0123456789") == ""
}

// locate returns the API's address and the name of the repository that tokens are for.
func (a App) locate(remote string) (api *url.URL, repository string, err error) {
	at, err := url.Parse(remote)
	if err != nil || at.Scheme != "https" || at.Host == "" {
		return nil, "", errors.New("a GitHub App is known over https only; the URL is not https://")
	}
	repository = strings.TrimSuffix(path.Base(at.Path), ".git")
	if strings.Count(strings.Trim(at.Path, "/"), "/") != 1 {
		return nil, "", errors.New("the URL is not https://HOST/OWNER/REPOSITORY")
	}
	address := a.API
	if address == "" {
		address = apiOf(at.Host)
	}
	api, err = url.Parse(address)
	if err != nil || api.Scheme != "https" || api.Host == "" || api.User != nil || api.RawQuery != "" {
		return nil, "", errors.New("api is not https://HOST/PATH")
	}
	return api, repository, nil
}

// apiOf is where GitHub has the API of a host.
func apiOf(host string) string {
	switch {
	case host == "github.com", strings.HasSuffix(host, ".ghe.com"):
		return "https://api." + host
	default:
		return "https://" + host + "/api/v3"
	}
}

// Source returns what gives tokens of the App for a remote, which open its repository and no other. Connections to the API
// are made with what connect returns at that moment.
func (a App) Source(remote string, connect func() (*tls.Config, error), pauses *Pauses) (*shortlived.Source, error) {
	if err := a.Validate(remote); err != nil {
		return nil, err
	}
	api, repository, err := a.locate(remote)
	if err != nil {
		return nil, err
	}
	at := api.JoinPath("app", "installations", a.Installation, "access_tokens")
	of := a.quotaOfTokens(api)
	return shortlived.New("token of GitHub App "+a.ID+" for "+repository, func(ctx context.Context) (shortlived.Credentials, error) {
		if err := pauses.left(of); err != nil {
			return shortlived.Credentials{}, fault.Wrap(fault.Unavailable, err)
		}
		config, err := connect()
		if err != nil {
			return shortlived.Credentials{}, shortlived.Unheard(err)
		}
		client := newClient(config)
		defer client.CloseIdleConnections()
		got, err := a.issue(ctx, client, at.String(), repository)
		if later, ok := errors.AsType[*LaterError](err); ok {
			pauses.begin(of, later)
		}
		return got, err
	}), nil
}

// newClient sends credentials to the host that was named, and to nobody whom that names.
func newClient(config *tls.Config) *http.Client {
	return &http.Client{
		Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return fault.New(fault.Unauthorized, "the API redirects, and is not followed")
		},
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSHandshakeTimeout: connectTimeout,
			TLSClientConfig:     config,
			ForceAttemptHTTP2:   true,
		},
	}
}

// issue asks for a token; see "Generating an installation access token for a GitHub App" in GitHub's documentation.
func (a App) issue(ctx context.Context, client *http.Client, at, repository string) (shortlived.Credentials, error) {
	assertion, err := a.assert(time.Now())
	if err != nil {
		return shortlived.Credentials{}, shortlived.Unheard(err)
	}
	scope, err := json.Marshal(map[string][]string{"repositories": {repository}})
	if err != nil {
		return shortlived.Credentials{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(string(scope)))
	if err != nil {
		return shortlived.Credentials{}, err
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("Authorization", "Bearer "+assertion)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Github-Api-Version", "2022-11-28")
	resp, err := client.Do(req)
	if err != nil {
		return shortlived.Credentials{}, shortlived.Unanswered(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(http.MaxBytesReader(nil, resp.Body, maxAnswerBytes))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return shortlived.Credentials{}, tooLarge
	}
	if err != nil {
		return shortlived.Credentials{}, shortlived.Unanswered(err)
	}
	var answer struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
		Message string    `json:"message"`
	}
	decoded := json.Unmarshal(body, &answer)
	switch {
	case resp.StatusCode != http.StatusCreated:
		secrets := redact.New()
		secrets.Add(assertion)
		return shortlived.Credentials{}, refusal(resp, secrets.Text(answer.Message))
	case decoded != nil, answer.Token == "", strings.ContainsAny(answer.Token, "\r\n\x00"), answer.Expires.IsZero():
		return shortlived.Credentials{}, errors.New("the API answers with something that is no token")
	}
	return shortlived.Credentials{Username: appUser, Password: answer.Token, Expires: answer.Expires}, nil
}

// refusal is what an answer without a token means: a LaterError of kind Unavailable, if the host had too much.
func refusal(resp *http.Response, message string) error {
	a := answer{status: resp.StatusCode, header: resp.Header, now: time.Now()}
	reason := a.reason(message)
	if limited(resp.StatusCode, resp.Header, message) {
		return fault.Wrap(fault.Unavailable, &LaterError{After: a.pause(), Reason: reason})
	}
	return fault.New(shortlived.KindOfStatus(resp.StatusCode), "%s", reason)
}

// assert proves to be the App, for some minutes.
func (a App) assert(now time.Time) (string, error) {
	key, err := a.key()
	if err != nil {
		return "", err
	}
	return jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		Issuer:    a.ID,
		IssuedAt:  jwt.NewNumericDate(now.Add(-clockSkew)),
		ExpiresAt: jwt.NewNumericDate(now.Add(assertionLife)),
	}).SignedString(key)
}

func (a App) key() (*rsa.PrivateKey, error) {
	pem, err := config.ReadSecret(a.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("keyFile: %w", err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(pem))
	if err != nil {
		return nil, fmt.Errorf("keyFile: %s is not a private RSA key in PEM", a.KeyFile)
	}
	return key, nil
}

// clip makes a host's words fit into an error.
func clip(text string) string { return redact.OneLine(text, maxReasonBytes) }
