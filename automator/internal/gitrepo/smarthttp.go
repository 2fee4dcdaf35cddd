package gitrepo

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/tlsfiles"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

const (
	// dialTimeout bounds a connection to the remote, and the handshake after it.
	dialTimeout = 10 * time.Second
	// idleTimeout is how long a connection is kept for the next push.
	idleTimeout = 90 * time.Second
	// maxAdvertisement bounds the list of refs of the remote.
	maxAdvertisement = maxOutput
	// maxSeenAge is how old what the remote said before a push may be when it is acted on.
	maxSeenAge = 10 * time.Second
	// maxRest and restTimeout bound what is read behind an answer, and for how long, so that its connection can be kept.
	maxRest     = 64 << 10
	restTimeout = time.Second
	// agent is what the remote is told of us, beginning as hosts expect it of git.
	agent = "git/tandem"
)

// smartHTTP speaks to an http or https remote without git, for as long as nothing unusual happens: gitprotocol-http.
type smartHTTP struct {
	url  string
	kept tlsfiles.Connections

	mu   sync.Mutex
	v2   bool                     // the remote fetches by version 2 of the protocol
	seen map[string]advertisement // by the ref that it was asked for; nobody has acted on it
}

func newSmartHTTP(remote string) *smartHTTP {
	return &smartHTTP{url: strings.TrimSuffix(remote, "/"), kept: tlsfiles.Connections{New: newTransport}}
}

// native tells whether a remote can be talked to without git. Proxies are left to git, which knows more kinds of them.
func native(remote string) bool {
	if !strings.HasPrefix(remote, "http:") && !strings.HasPrefix(remote, "https:") {
		return false
	}
	for _, name := range []string{"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		if os.Getenv(name) != "" {
			return false
		}
	}
	return true
}

// client returns a client whose connections show and check what was read just now, and are kept while that stays the same.
func (s *smartHTTP) client(shown *tls.Config) *http.Client {
	return &http.Client{
		Transport: s.kept.With(shown),
		// A redirect must not choose who gets our credentials.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func newTransport(shown *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:     shown,
		TLSHandshakeTimeout: dialTimeout,
		IdleConnTimeout:     idleTimeout,
		ForceAttemptHTTP2:   true,
	}
}

// advertisement is what a remote says before a push.
type advertisement struct {
	refs         map[string]gitobject.ID
	capabilities map[string]string // by name; most have no value
	at           time.Time
}

var (
	errNotSmart  = errors.New("the remote does not answer as git does")
	errTooMany   = errors.New("the remote has more refs than are read")
	errNoReport  = errors.New("the remote did not report what became of the push")
	errBrokenOff = errors.New("the remote broke off")
	errNotSent   = errors.New("nothing was sent")
)

const receivePack = "git-receive-pack"

// advertised asks the remote for its refs, and for what it takes in a push.
func (s *smartHTTP) advertised(ctx context.Context, shown access) (advertisement, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/info/refs?service="+receivePack, nil)
	if err != nil {
		return advertisement{}, err
	}
	response, err := s.do(request, shown)
	if err != nil {
		return advertisement{}, err
	}
	defer finish(response)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/x-"+receivePack+"-advertisement" {
		return advertisement{}, fmt.Errorf("%w: %s", errNotSmart, response.Status)
	}
	return readAdvertisement(response.Body)
}

// takeSeen returns what the remote said of a ref just now, if nobody acted on it.
func (s *smartHTTP) takeSeen(ref string) (advertisement, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, ok := s.seen[ref]
	delete(s.seen, ref)
	return seen, ok && time.Since(seen.at) < maxSeenAge
}

// keep keeps what the remote said of a ref for who acts on it next.
func (s *smartHTTP) keep(ref string, seen advertisement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]advertisement{}
	}
	if at, ok := seen.refs[ref]; ok {
		seen.refs = map[string]gitobject.ID{ref: at} // there may be very many others
		s.seen[ref] = seen
	}
}

// do sends a request. Its error is errNotSent when the remote got nothing of it. On a connection that turns out to be dead
// before that, it is sent on another one.
func (s *smartHTTP) do(request *http.Request, shown access) (*http.Response, error) {
	request.Header.Set("User-Agent", agent)
	if shown.basic != "" {
		request.Header.Set("Authorization", "Basic "+shown.basic)
	}
	var sent, multiplexed atomic.Bool
	trace := &httptrace.ClientTrace{
		// For the first time, or because nothing left on the one before; but HTTP/2 also sends again what a host reset.
		GetConn: func(string) {
			if !multiplexed.Load() {
				sent.Store(false)
			}
		},
		GotConn:      func(got httptrace.GotConnInfo) { multiplexed.Store(multiplexed.Load() || speaksHTTP2(got.Conn)) },
		WroteHeaders: func() { sent.Store(true) },
	}
	response, err := s.client(shown.tls).Do(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil && !sent.Load() {
		err = fmt.Errorf("%w: %w", errNotSent, err)
	}
	return response, err
}

func speaksHTTP2(conn net.Conn) bool {
	secure, ok := conn.(*tls.Conn)
	return ok && secure.ConnectionState().NegotiatedProtocol == "h2"
}

// finish closes an answer. It reads what little may be left of it: a connection of HTTP/1 is kept when its answer was read to
// the end.
func finish(answer *http.Response) {
	late := time.AfterFunc(restTimeout, func() { _ = answer.Body.Close() })
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, answer.Body, maxRest)
	_ = answer.Body.Close()
}

// readAdvertisement reads the service's name, and then refs, of which the first line names the capabilities too.
func readAdvertisement(body io.Reader) (advertisement, error) {
	limited := &io.LimitedReader{R: body, N: maxAdvertisement}
	a := advertisement{refs: map[string]gitobject.ID{}, capabilities: map[string]string{}, at: time.Now()}
	for lists, first := 0, true; lists < 2; {
		line, flush, err := readLine(limited)
		switch {
		case limited.N <= 0:
			return a, errTooMany
		case err != nil:
			return a, noEOF(err)
		case flush:
			lists++
			continue
		case lists == 0:
			continue // the service's name
		}
		text := strings.TrimSuffix(string(line), "\n")
		if first {
			var capabilities string
			text, capabilities, _ = strings.Cut(text, "\x00")
			for word := range strings.FieldsSeq(capabilities) {
				name, value, _ := strings.Cut(word, "=")
				a.capabilities[name] = value
			}
			first = false
		}
		if err := a.add(text); err != nil {
			return a, err
		}
	}
	return a, nil
}

// add takes a ref. The null id stands for a repository without any.
func (a *advertisement) add(line string) error {
	hex, name, ok := strings.Cut(line, " ")
	if !ok {
		return fmt.Errorf("%w: ref %.80q", errBadLine, line)
	}
	if strings.Trim(hex, "0") == "" || !strings.HasPrefix(name, "refs/") {
		return nil
	}
	id, err := gitobject.ParseID(hex)
	if err != nil {
		return fmt.Errorf("ref %.80q: %w", name, err)
	}
	a.refs[name] = id
	return nil
}

// takes tells whether the remote takes a push as it is made here.
func (a *advertisement) takes(algorithm gitobject.Algorithm) bool {
	_, reports := a.capabilities["report-status"]
	format := a.capabilities["object-format"]
	if format == "" {
		format = gitobject.SHA1.String()
	}
	return reports && format == algorithm.String()
}

// send pushes a pack and reads what became of it. A POST is sent again by net/http when nothing of it was written, and when a
// host of HTTP/2 says that it did not look at it.
func (s *smartHTTP) send(ctx context.Context, shown access, a advertisement, u RefUpdate, pack []byte) (report, error) {
	words := " report-status agent=" + agent
	_, sideBand := a.capabilities["side-band-64k"]
	if sideBand {
		words += " side-band-64k"
	}
	if format := a.capabilities["object-format"]; format != "" {
		words += " object-format=" + format
	}
	body := appendFlush(appendLine(nil, u.Old.String()+" "+u.New.String()+" "+u.Ref+"\x00"+words))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/"+receivePack, bytes.NewReader(append(body, pack...)))
	if err != nil {
		return report{}, err
	}
	request.Header.Set("Content-Type", "application/x-"+receivePack+"-request")
	request.Header.Set("Accept", "application/x-"+receivePack+"-result")
	response, err := s.do(request, shown)
	if err != nil {
		return report{}, err
	}
	defer finish(response)
	if response.StatusCode != http.StatusOK {
		return report{}, &statusError{code: response.StatusCode, text: response.Status}
	}
	limited := &io.LimitedReader{R: response.Body, N: maxReport}
	if sideBand {
		return readBands(limited)
	}
	return readReport(limited, "")
}

// statusError is an answer in HTTP that is no report.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return "HTTP " + e.text }
