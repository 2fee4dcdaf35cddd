package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
)

const (
	uploadPack = "git-upload-pack"
	// maxQuickPack bounds what is fetched of one ref without git; it holds in memory what others pushed lately.
	maxQuickPack = 16 << 20
)

// FetchRef brings one ref of the mirror to where the remote has it, which is what whoever lost a race for it needs: in two
// requests, one when a push has just said where the ref is. Whatever is not as usual it leaves to Fetch, which brings all.
func (r *Repo) FetchRef(ctx context.Context, ref string) error {
	if held, ok := r.Tip(ref); r.http != nil && ok {
		began := time.Now()
		err := r.fetchNatively(ctx, ref, held)
		r.metrics.ran("fetch-ref", began, err)
		if err == nil {
			return nil
		}
	}
	_, err := r.Fetch(ctx)
	return err
}

// fetchNatively does it without git but for the unpacking.
func (r *Repo) fetchNatively(ctx context.Context, ref string, held gitobject.ID) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.PushTimeout)
	defer cancel()
	shown, err := r.access(ctx)
	if err != nil {
		return err
	}
	seen, ok := r.http.takeSeen(ref)
	if !ok || seen.refs[ref] == held { // a push has not seen it move
		if seen, err = r.http.advertised(ctx, shown); err != nil {
			return err
		}
	}
	want, ok := seen.refs[ref]
	if !ok {
		return errRefGone
	}
	if want != held {
		if err := r.obtain(ctx, shown, want, held); err != nil {
			return err
		}
		// A branch that was rewritten is no race, and what was seen may be older than the mirror.
		if _, err := r.Chain(ctx, held, want); err != nil {
			return err
		}
		if err := r.take(ctx, RefUpdate{Ref: ref, Old: held, New: want}); err != nil {
			return err
		}
	}
	r.http.keep(ref, seen)
	return nil
}

var errRefGone = errors.New("the remote does not have the ref any more")

// obtain brings a commit, with all it needs, into the mirror.
func (r *Repo) obtain(ctx context.Context, shown access, want, held gitobject.ID) error {
	if _, err := r.Commit(ctx, want); !fault.Is(err, fault.NotFound) {
		return err // it is our own, perhaps, of a push whose end nobody knows
	}
	pack, err := r.http.fetch(ctx, shown, want, held)
	if err != nil {
		return err
	}
	_, err = r.run(ctx, command{args: []string{"unpack-objects", "-q", "--strict=" + toleratedTypes()}, stdin: bytes.NewReader(pack)})
	return err
}

// fetch asks for a commit and what it needs, beside what another one needs.
func (s *smartHTTP) fetch(ctx context.Context, shown access, want, held gitobject.ID) ([]byte, error) {
	if err := s.speaksV2(ctx, shown); err != nil {
		return nil, err
	}
	body := appendLine(nil, "command=fetch")
	body = appendLine(body, "agent="+agent)
	body = appendLine(body, "object-format="+want.Algorithm().String())
	body = append(body, "0001"...)
	for _, line := range []string{"thin-pack", "ofs-delta", "no-progress", "want " + want.String(), "have " + held.String(), "done"} {
		body = appendLine(body, line)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/"+uploadPack, bytes.NewReader(appendFlush(body)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Git-Protocol", "version=2")
	request.Header.Set("Content-Type", "application/x-"+uploadPack+"-request")
	request.Header.Set("Accept", "application/x-"+uploadPack+"-result")
	response, err := s.do(request, shown)
	if err != nil {
		return nil, err
	}
	defer finish(response)
	if response.StatusCode != http.StatusOK {
		return nil, &statusError{code: response.StatusCode, text: response.Status}
	}
	line, _, err := readLine(response.Body)
	if err != nil || string(line) != "packfile\n" {
		return nil, errors.Join(fmt.Errorf("%w: %.80q", errNotSmart, line), err)
	}
	pack := &bounded{limit: maxQuickPack}
	err = readChannels(response.Body, pack, io.Discard)
	return pack.Bytes(), err
}

// speaksV2 asks once whether the remote speaks version 2 of the protocol, and fetches with the hash that it says then.
func (s *smartHTTP) speaksV2(ctx context.Context, shown access) error {
	s.mu.Lock()
	known := s.v2
	s.mu.Unlock()
	if known {
		return nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/info/refs?service="+uploadPack, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Git-Protocol", "version=2")
	response, err := s.do(request, shown)
	if err != nil {
		return err
	}
	defer finish(response)
	if response.StatusCode != http.StatusOK || !offersV2(io.LimitReader(response.Body, maxReport)) {
		return fmt.Errorf("%w: %s", errNotSmart, response.Status)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.v2 = true
	return nil
}

// offersV2 reads an advertisement, before which a host may name the service, for the version, fetch and the hash's name.
func offersV2(from io.Reader) bool {
	var fetches, names, version bool
	for lists := 0; lists < 2; {
		line, flush, err := readLine(from)
		text := strings.TrimSuffix(string(line), "\n")
		switch {
		case err != nil || flush && version:
			return fetches && names && version
		case flush:
			lists++
		case text == "version 2":
			version = true
		case text == "fetch" || strings.HasPrefix(text, "fetch="):
			fetches = true
		case strings.HasPrefix(text, "object-format="):
			names = true
		}
	}
	return false
}
