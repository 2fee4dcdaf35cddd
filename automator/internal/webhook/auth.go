package webhook

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Nexus signs with; see nexus below
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"slices"
	"strings"
)

// secret is what a caller shows or signs with.
type secret struct {
	caller string
	text   string
	sum    [sha256.Size]byte
}

// secrets are those of all callers.
type secrets []secret

// whose finds the caller whose secret this is, comparing in constant time with all, also where lengths differ.
func (s secrets) whose(given string) (caller string, ok bool) {
	sum := sha256.Sum256([]byte(given))
	for _, one := range s {
		if subtle.ConstantTimeCompare(sum[:], one.sum[:]) == 1 {
			caller, ok = one.caller, true
		}
	}
	return caller, ok
}

// proof is how a caller shows that it knows the secret: by saying it, or by having signed the body with it.
type proof struct {
	secrets secrets       // those that count, as of when the call came
	given   string        // the secret itself
	macs    []hash.Hash   // else what the body goes through, for each secret
	want    []byte        // and what has to come out of one
	hashing chan struct{} // holds one token while a part of a body goes through macs
}

// signed tells whether the body has to be read to check the proof.
func (p *proof) signed() bool { return len(p.macs) > 0 }

// hashedAtOnce is how many bytes of a body go through the macs until another one may have its turn.
const hashedAtOnce = 32 << 10

// Write has a part of the body go through all macs. Other bodies have their turns meanwhile, for equal parts: who knows no secret can
// have bodies hashed too, and takes one processor by that, whatever he sends.
func (p *proof) Write(part []byte) (int, error) {
	for some := range slices.Chunk(part, hashedAtOnce) {
		p.hashing <- struct{}{}
		for _, mac := range p.macs {
			_, _ = mac.Write(some) // a hash never fails
		}
		<-p.hashing
	}
	return len(part), nil
}

// proofOf finds the proof in a request's headers; nil if there is none. The first header of the list counts, so that a
// caller cannot try several secrets at once.
func (s secrets) proofOf(req *http.Request, p *provider) *proof {
	if given := req.Header.Get("Authorization"); given != "" {
		return s.shown(credential(given))
	}
	for _, header := range []string{"X-Hub-Signature-256", "X-Hub-Signature"} { // GitHub, Gitea; Bitbucket
		if given := req.Header.Get(header); given != "" {
			signature, _ := strings.CutPrefix(given, "sha256=")
			return s.signature(sha256.New, signature)
		}
	}
	for _, header := range []string{"X-Gitea-Signature", "X-Forgejo-Signature", "X-Gogs-Signature"} {
		if given := req.Header.Get(header); given != "" {
			return s.signature(sha256.New, given)
		}
	}
	if given := req.Header.Get("X-Gitlab-Token"); given != "" {
		return s.shown(given)
	}
	if given := req.Header.Get("X-Jfrog-Event-Auth"); given != "" {
		if _, ok := s.whose(given); ok {
			return s.shown(given)
		}
		return s.signature(sha256.New, given) // payload signing is an option there
	}
	if given := req.Header.Get("X-Nexus-Webhook-Signature"); given != "" && p.sha1 {
		return s.signature(sha1.New, given)
	}
	if given := req.URL.Query().Get("token"); given != "" && p.query {
		return s.shown(given)
	}
	return nil
}

// credential takes the secret out of an Authorization header: of Bearer, the password of Basic, or the whole header, which
// is what Harbor and Azure send of what they were told.
func credential(header string) string {
	scheme, rest, _ := strings.Cut(header, " ")
	switch strings.ToLower(scheme) {
	case "bearer":
		return rest
	case "basic":
		pair, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return ""
		}
		_, password, _ := strings.Cut(string(pair), ":")
		return password
	}
	return header
}

func (s secrets) shown(given string) *proof { return &proof{secrets: s, given: given} }

func (s secrets) signature(algorithm func() hash.Hash, given string) *proof {
	want, err := hex.DecodeString(given)
	if err != nil {
		want = nil // a proof of nothing
	}
	p := &proof{secrets: s, want: want}
	for _, one := range s {
		p.macs = append(p.macs, hmac.New(algorithm, []byte(one.text)))
	}
	return p
}

// holder is the caller that it proves; none without one. Of a signed body, all of it has to have gone through the macs.
func (p *proof) holder() (caller string, ok bool) {
	if !p.signed() {
		return p.secrets.whose(p.given)
	}
	for i, mac := range p.macs {
		if hmac.Equal(mac.Sum(nil), p.want) {
			caller, ok = p.secrets[i].caller, true
		}
	}
	return caller, ok
}
