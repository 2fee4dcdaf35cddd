package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// maxReferrerPages bounds the pages that are read of a registry's list of referrers, and maxReferrerPage the bytes of one.
	maxReferrerPages = 16
	maxReferrerPage  = 4 << 20
	// maxLists bounds the repositories whose handshakes are remembered; beyond it all are made once more.
	maxLists = 1000
)

var errPage = fmt.Errorf("a page of the referrers has more than %d bytes", maxReferrerPage)

// selection is the end of a list of referrers, however long that is.
type selection struct {
	last    []v1.Hash // of what may be signatures, each once; at most maxReferrers
	dropped int
}

func (s *selection) add(digest v1.Hash) {
	if slices.Contains(s.last, digest) {
		return
	}
	if len(s.last) == maxReferrers {
		s.last = s.last[1:] // the newest stand last where the list is a tag
		s.dropped++
	}
	s.last = append(s.last, digest)
}

// list selects from the registry's own list of what refers to the subject, page by page; found is false where it has no such lists.
// Pages beyond the limit, and a next page that cannot be told or is none of this list, are counted as one that was skipped.
func (r *signatureReader) list(ctx context.Context, selected *selection) (found bool, err error) {
	client, err := r.lister(ctx, r.repository)
	if err != nil {
		return false, err
	}
	at := &url.URL{
		Scheme: r.repository.Scheme(), Host: r.repository.RegistryStr(),
		Path: "/v2/" + r.repository.RepositoryStr() + "/referrers/" + r.subject.String(),
	}
	for page := range maxReferrerPages {
		body, links, err := readPage(ctx, client, at)
		switch {
		case errors.Is(err, errNoList) && page == 0:
			return false, nil
		case err != nil:
			return false, err
		}
		r.choose(body, selected)
		next, err := nextPage(at, links)
		if err != nil {
			r.material.Skipped++
		}
		if next == nil {
			return true, nil
		}
		at = next
	}
	r.material.Skipped++
	return true, nil
}

// errNoList says that a registry does not know lists of referrers.
var errNoList = errors.New("the registry has no lists of referrers")

// readPage reads one page, and its headers Link. See "Listing Referrers" of the distribution specification.
func readPage(ctx context.Context, client *http.Client, at *url.URL) (body []byte, links []string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", string(types.OCIImageIndex))
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusOK, http.StatusNotFound, http.StatusBadRequest, http.StatusNotAcceptable); err != nil {
		return nil, nil, err
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode != http.StatusOK || kind != string(types.OCIImageIndex) {
		return nil, nil, errNoList
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxReferrerPage+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(body) > maxReferrerPage:
		return nil, nil, errPage
	}
	return body, resp.Header.Values("Link"), nil
}

// errNextPage says that there may be a next page which cannot be asked for.
var errNextPage = errors.New("the next page of the referrers cannot be told")

// nextPage finds the next page of the list at an address in headers such as `</v2/...?last=x>; rel="next"`; nil where there is none.
// See RFC 8288, section 3.
func nextPage(at *url.URL, headers []string) (*url.URL, error) {
	var wrong error
	for _, link := range outside(strings.Join(headers, ","), ',') {
		parts := outside(link, ';')
		target := strings.TrimSpace(parts[0])
		address, opened := strings.CutPrefix(target, "<")
		address, closed := strings.CutSuffix(address, ">")
		switch {
		case target == "" && len(parts) == 1: // an empty member of the list
		case !opened || !closed:
			wrong = errNextPage
		case isNext(parts[1:]):
			next, err := at.Parse(address)
			if err != nil || next.Scheme != at.Scheme || next.Host != at.Host || next.Path != at.Path {
				return nil, errNextPage
			}
			return next, nil
		}
	}
	return nil, wrong
}

// isNext tells whether next is among the relations that the parameters of a link name.
func isNext(parameters []string) bool {
	for _, parameter := range parameters {
		key, value, _ := strings.Cut(parameter, "=")
		if strings.EqualFold(strings.TrimSpace(key), "rel") {
			relations := strings.Fields(strings.Trim(strings.TrimSpace(value), `"`))
			return slices.ContainsFunc(relations, func(r string) bool { return strings.EqualFold(r, "next") }) // the first rel counts
		}
	}
	return false
}

// outside splits a text where a separator stands outside of <...> and "...".
func outside(text string, separator byte) []string {
	var parts []string
	var closing byte // of what the separator would stand in; zero for nothing
	start := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case closing == '"' && c == '\\':
			i++ // what it escapes
		case closing != 0 && c == closing:
			closing = 0
		case closing != 0:
		case c == '<':
			closing = '>'
		case c == '"':
			closing = '"'
		case c == separator:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

// referrer is what counts of a descriptor in a list.
type referrer struct {
	ArtifactType string `json:"artifactType"`
	Digest       string `json:"digest"`
}

// choose selects what may be signatures of an index; what is no index, such as anything that a tag may point to, and what cannot be
// asked for is counted. It holds one descriptor at a time: a page may have a million that say nothing.
func (r *signatureReader) choose(index []byte, selected *selection) {
	var list struct {
		Manifests json.RawMessage `json:"manifests"`
	}
	if json.Unmarshal(index, &list) != nil {
		r.material.Skipped++
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(list.Manifests))
	switch start, err := decoder.Token(); {
	case start == nil || err != nil: // it has none
		return
	case start != json.Delim('['):
		r.material.Skipped++
		return
	}
	var one referrer
	for decoder.More() {
		one = referrer{}
		err := decoder.Decode(&one)
		digest, wrong := v1.NewHash(one.Digest)
		switch {
		case err != nil:
			r.material.Skipped++
		case !attaches(one.ArtifactType):
		case wrong != nil || !isSHA256(digest):
			r.material.Skipped++
		default:
			selected.add(digest)
		}
	}
}

// listUnderTag selects from the list that clients keep under a tag where the registry has none.
func (r *signatureReader) listUnderTag(ctx context.Context, selected *selection) error {
	got, err := r.puller.Get(ctx, r.repository.Tag(tagOf(r.subject)))
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	r.choose(got.Manifest, selected)
	return nil
}

// lister returns a client that may ask for the referrers of a repository's images, after a handshake with the registry the
// first time: pullers keep theirs to themselves.
func (h *host) lister(ctx context.Context, repository name.Repository) (*http.Client, error) {
	h.mu.Lock()
	client, keys := h.lists[repository.Name()], h.keys
	h.mu.Unlock()
	if client != nil {
		return client, nil
	}
	auth, err := authn.Resolve(ctx, keys, repository)
	if err != nil {
		return nil, err
	}
	inner := transport.NewUserAgent(h.guarded(), h.userAgent)
	shaken, err := transport.NewWithContext(ctx, repository.Registry, auth, inner, []string{repository.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	client = &http.Client{Transport: shaken}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keys != keys {
		return client, nil // others are in its place by now
	}
	if h.lists == nil || len(h.lists) >= maxLists {
		h.lists = map[string]*http.Client{}
	}
	h.lists[repository.Name()] = client
	return client, nil
}
