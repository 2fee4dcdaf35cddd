package credential

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/tandem-cd/tandem/shared/fault"
)

const (
	// MaxToken bounds a token's text, in bytes.
	MaxToken = 512
	// tokenPrefix starts every token, so that people and scanners of secrets recognise one.
	tokenPrefix = "tandem-token-1"
)

// Token lets one cluster enroll once. Its text is "tandem-token-1.<secret>.<hash of the CA's key>", the parts in
// base64url: who holds it can also tell the true automator from a false one.
type Token struct {
	// Secret is what makes it a token; only its hash is kept by whoever issued it.
	Secret [32]byte
	// CA names the key that the automator's certificate descends from.
	CA KeyHash
}

// NewToken makes a token for an authority.
func NewToken(ca KeyHash) Token {
	t := Token{CA: ca}
	_, _ = rand.Read(t.Secret[:]) // never fails
	return t
}

// String returns the token as people carry it. It is a secret.
func (t Token) String() string {
	encode := base64.RawURLEncoding.EncodeToString
	return tokenPrefix + "." + encode(t.Secret[:]) + "." + encode(t.CA[:])
}

// Hash is what may be kept of a token.
func (t Token) Hash() [sha256.Size]byte { return sha256.Sum256([]byte(t.String())) }

// ParseToken reads a token, with white space around it allowed. A failure is an Invalid fault that does not repeat the
// text.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	parts := strings.Split(text, ".")
	if len(text) > MaxToken || len(parts) != 3 || parts[0] != tokenPrefix {
		return Token{}, fault.New(fault.Invalid, "this is no enrollment token; take what `tandem cluster enroll` printed, which begins with %q", tokenPrefix)
	}
	var t Token
	if !decodeExactly(t.Secret[:], parts[1]) || !decodeExactly(t.CA[:], parts[2]) {
		return Token{}, fault.New(fault.Invalid, "the enrollment token is damaged or cut off; take all of what `tandem cluster enroll` printed")
	}
	return t, nil
}

// decodeExactly fills into from base64url that has just that length, in its one canonical form.
func decodeExactly(into []byte, text string) bool {
	if base64.RawURLEncoding.DecodedLen(len(text)) != len(into) {
		return false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(into, []byte(text))
	return err == nil && n == len(into) && !strings.ContainsAny(text, "\r\n")
}
