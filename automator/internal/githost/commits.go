package githost

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/redact"
)

// Limits of a commit by API. GitHub names none; these keep a request from being as large as no host is known to take it.
const (
	// MaxFiles bounds the files of a commit.
	MaxFiles = 1000
	// MaxBytes bounds their contents together, before base64.
	MaxBytes = 8 << 20
)

// ErrOutcomeUnknown says that a commit may or may not have been made: ask the branch before anything else.
var ErrOutcomeUnknown = errors.New("outcome unknown")

// Commit is a commit that a host is asked for.
type Commit struct {
	// Branch is the branch's name, without refs/heads/.
	Branch string
	// Parent is where the branch must be.
	Parent gitobject.ID
	// Message ends with its trailers.
	Message string
	// Files are contents by path; nil removes a file. All are regular files without the executable bit: the API knows no
	// others.
	Files map[string][]byte
}

// Commits makes commits through the API of GitHub, which makes them in the name of the App, and signs them.
type Commits struct {
	endpoint   string
	repository string // OWNER/NAME
	tokens     *shortlived.Source
	connect    func() (*tls.Config, error)
	client     func(*tls.Config) *http.Client
	pauses     *Pauses
	quota      quota
}

// Commits returns what makes commits in the repository of a remote. tokens are those of Source, and connections are made
// with what connect returns at that moment.
func (a App) Commits(remote string, tokens *shortlived.Source, connect func() (*tls.Config, error), pauses *Pauses) (*Commits, error) {
	if err := a.Validate(remote); err != nil {
		return nil, err
	}
	api, _, err := a.locate(remote)
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(remote)
	if err != nil {
		return nil, err
	}
	return &Commits{
		endpoint: graphQL(api), repository: strings.TrimSuffix(strings.Trim(at.Path, "/"), ".git"), tokens: tokens, connect: connect,
		client: newClient, pauses: pauses, quota: a.quotaOfCommits(api),
	}, nil
}

// graphQL is where a host has GraphQL, by where it has the rest of its API.
func graphQL(api *url.URL) string {
	if enterprise, found := strings.CutSuffix(strings.TrimSuffix(api.String(), "/"), "/v3"); found {
		return enterprise + "/graphql"
	}
	return api.JoinPath("graphql").String()
}

// mutation is "createCommitOnBranch" of GitHub's documentation of GraphQL.
const mutation = `mutation($input: CreateCommitOnBranchInput!) { createCommitOnBranch(input: $input) { commit { oid } } }`

type (
	request struct {
		Query     string           `json:"query"`
		Variables map[string]input `json:"variables"`
	}
	input struct {
		Branch   branch      `json:"branch"`
		Expected string      `json:"expectedHeadOid"`
		Message  message     `json:"message"`
		Changes  fileChanges `json:"fileChanges"`
	}
	branch struct {
		Repository string `json:"repositoryNameWithOwner"`
		Name       string `json:"branchName"`
	}
	message struct {
		Headline string `json:"headline"`
		Body     string `json:"body,omitempty"`
	}
	fileChanges struct {
		Additions []addition `json:"additions,omitempty"`
		Deletions []deletion `json:"deletions,omitempty"`
	}
	addition struct {
		Path     string `json:"path"`
		Contents string `json:"contents"`
	}
	deletion struct {
		Path string `json:"path"`
	}
)

// Commit has a commit made on a branch, if that is where it is expected to be, and returns its id. Its error is of kind
//   - Conflict, when the branch is elsewhere: fetch and decide anew;
//   - Unauthorized or Invalid, when the host refuses, with its reason, or would: a person must change something;
//   - a LaterError, when nothing was done because it was too much for the host, which is asked nothing until then;
//   - Unavailable, when there is no token to be had for now, and nothing was done;
//   - and it is ErrOutcomeUnknown otherwise.
func (c *Commits) Commit(ctx context.Context, commit Commit) (gitobject.ID, error) {
	what := fmt.Sprintf("commit by API to %s of %s", commit.Branch, c.repository)
	body, err := c.encode(commit)
	if err != nil {
		return gitobject.ID{}, fault.New(fault.Invalid, "%s: %w", what, err)
	}
	if err := c.pauses.left(c.quota); err != nil {
		return gitobject.ID{}, fmt.Errorf("%s: %w", what, err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	id, err := c.attempt(ctx, body)
	if errors.Is(err, errAnotherToken) {
		id, err = c.attempt(ctx, body)
	}
	if errors.Is(err, errAnotherToken) {
		err = fault.Wrap(fault.Unavailable, err)
	}
	if err != nil {
		return gitobject.ID{}, fmt.Errorf("%s: %w", what, err)
	}
	return id, nil
}

func (c *Commits) encode(commit Commit) ([]byte, error) {
	if len(commit.Files) > MaxFiles {
		return nil, fmt.Errorf("%d files, more than %d", len(commit.Files), MaxFiles)
	}
	headline, text, _ := strings.Cut(commit.Message, "\n")
	in := input{
		Branch: branch{c.repository, commit.Branch}, Expected: commit.Parent.String(),
		Message: message{headline, strings.TrimSpace(text)},
	}
	size := 0
	for _, path := range slices.Sorted(maps.Keys(commit.Files)) {
		content := commit.Files[path]
		if size += len(content); size > MaxBytes {
			return nil, fmt.Errorf("more than %d bytes in its files", MaxBytes)
		}
		if content == nil {
			in.Changes.Deletions = append(in.Changes.Deletions, deletion{path})
			continue
		}
		in.Changes.Additions = append(in.Changes.Additions, addition{path, base64.StdEncoding.EncodeToString(content)})
	}
	return json.Marshal(request{Query: mutation, Variables: map[string]input{"input": in}})
}

// errAnotherToken says that a token was refused, nothing was done, and another one is to be had.
var errAnotherToken = errors.New("the API refused a token that counts still")

// attempt sends a request once.
func (c *Commits) attempt(ctx context.Context, body []byte) (gitobject.ID, error) {
	shown, err := c.tokens.Credentials(ctx)
	if err != nil && !fault.Is(err, fault.Unauthorized) {
		err = fault.Wrap(fault.Unavailable, err)
	}
	if err != nil {
		return gitobject.ID{}, err
	}
	config, err := c.connect()
	if err != nil {
		return gitobject.ID{}, fault.New(fault.Unauthorized, "%w", err)
	}
	client := c.client(config)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return gitobject.ID{}, err
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("Authorization", "Bearer "+shown.Password)
	req.Header.Set("Content-Type", "application/json")
	secrets := redact.New()
	secrets.Add(shown.Password)
	resp, err := client.Do(req)
	if fault.Is(err, fault.Unauthorized) {
		return gitobject.ID{}, fault.New(fault.Unauthorized, "%s", clip(secrets.Text(err.Error())))
	}
	if err != nil {
		return gitobject.ID{}, fmt.Errorf("%w: %s", ErrOutcomeUnknown, clip(secrets.Text(err.Error())))
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized && c.tokens.Refused(shown.Password) {
		return gitobject.ID{}, errAnotherToken
	}
	text, err := io.ReadAll(http.MaxBytesReader(nil, resp.Body, maxAnswerBytes))
	if err != nil {
		return gitobject.ID{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	id, err := read(answer{status: resp.StatusCode, header: resp.Header, body: []byte(secrets.Text(string(text))), now: time.Now()})
	if later, ok := errors.AsType[*LaterError](err); ok {
		c.pauses.begin(c.quota, later)
	}
	return id, err
}
