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
	"strings"
)

// secret is what callers show or sign with.
type secret struct {
	text string
	sum  [sha256.Size]byte
}

func newSecret(text string) secret { return secret{text: text, sum: sha256.Sum256([]byte(text))} }

// is compares in constant time, also where the lengths differ.
func (s secret) is(given string) bool {
	sum := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(sum[:], s.sum[:]) == 1
}

// proof is how a caller shows that it knows the secret: by saying it, or by having signed the body with it.
type proof struct {
	given string    // the secret itself
	mac   hash.Hash // else what the body goes through
	want  []byte    // and what has to come out
}

// signed tells whether the body has to be read to check the proof.
func (p *proof) signed() bool { return p.mac != nil }

// proofOf finds the proof in a request's headers; nil if there is none. The first header of the list counts, so that a
// caller cannot try several secrets at once.
func (s secret) proofOf(req *http.Request, p *provider) *proof {
	if given := req.Header.Get("Authorization"); given != "" {
		return &proof{given: credential(given)}
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
		return &proof{given: given}
	}
	if given := req.Header.Get("X-Jfrog-Event-Auth"); given != "" {
		if s.is(given) {
			return &proof{given: given}
		}
		return s.signature(sha256.New, given) // payload signing is an option there
	}
	if given := req.Header.Get("X-Nexus-Webhook-Signature"); given != "" && p.sha1 {
		return s.signature(sha1.New, given)
	}
	if given := req.URL.Query().Get("token"); given != "" && p.query {
		return &proof{given: given}
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

func (s secret) signature(algorithm func() hash.Hash, given string) *proof {
	want, err := hex.DecodeString(given)
	if err != nil {
		want = nil // a proof of nothing
	}
	return &proof{mac: hmac.New(algorithm, []byte(s.text)), want: want}
}

// holds tells whether the proof is one. Of a signed body, all of it has to have gone through the mac.
func (s secret) holds(p *proof) bool {
	if p.signed() {
		return hmac.Equal(p.mac.Sum(nil), p.want)
	}
	return s.is(p.given)
}
