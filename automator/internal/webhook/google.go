package webhook

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// GoogleKeys is where Google publishes the keys that sign tokens of its service accounts.
const GoogleKeys = "https://www.googleapis.com/oauth2/v3/certs"

const (
	// maxToken bounds a token, in bytes; Google's have about a thousand.
	maxToken = 8 << 10
	// maxKeysBytes and maxKeys bound what is published; Google has two or three keys at a time.
	maxKeysBytes = 64 << 10
	maxKeys      = 32
	// minKeyBits is the weakest key that counts.
	minKeyBits = 2048
	// keysLife is how long keys are used without a look at what is published.
	keysLife = time.Hour
	// keysPause lies between two looks: whoever sends tokens of unknown keys must not have us ask all the time.
	keysPause = time.Minute
	// keysTimeout bounds one look.
	keysTimeout = 10 * time.Second
	// clockSkew is how far our clock may be from Google's.
	clockSkew = time.Minute
)

// googleIssuers are the names that Google has in tokens.
var googleIssuers = []string{"https://accounts.google.com", "accounts.google.com"} //nolint:gochecknoglobals // a constant list

// google checks the tokens of Pub/Sub, as "Authenticate push subscriptions" of its documentation asks for.
type google struct {
	callers []Caller
	keys    *keySet
}

// looksLikeToken tells a token from a secret.
func looksLikeToken(given string) bool {
	return strings.HasPrefix(given, "eyJ") && strings.Count(given, ".") == 2
}

type googleClaims struct {
	jwt.RegisteredClaims

	Email    string `json:"email"`
	Verified bool   `json:"email_verified"`
}

// whose is the caller that a token was issued to and for.
func (g *google) whose(ctx context.Context, token string) (string, error) {
	if len(token) > maxToken {
		return "", fmt.Errorf("the token has more than %d bytes", maxToken)
	}
	claims := &googleClaims{}
	_, err := jwt.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		return g.keys.key(ctx, id)
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(clockSkew))
	if err != nil {
		return "", err
	}
	if !slices.Contains(googleIssuers, claims.Issuer) {
		return "", errors.New("the token is not of Google")
	}
	for _, c := range g.callers {
		if claims.Verified && claims.Email == c.Google.Email && slices.Contains(claims.Audience, c.Google.Audience) {
			return c.Name, nil
		}
	}
	return "", errors.New("the token is of an account, or for an audience, that no caller has")
}

// keySet are the keys that somebody publishes, by id.
type keySet struct {
	url    string
	client *http.Client
	now    func() time.Time
	failed func(error) // told why keys could not be read

	turn  chan struct{} // holds one token: who looks
	known map[string]*rsa.PublicKey
	asked time.Time // when they were looked at last
	got   time.Time // and with success
}

func newKeySet(url string, client *http.Client, failed func(error)) *keySet {
	bounded := *client
	bounded.Timeout = keysTimeout
	bounded.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("keys are redirected, and not followed") }
	return &keySet{url: url, client: &bounded, now: time.Now, failed: failed, turn: make(chan struct{}, 1)}
}

var (
	errUnknownKey = errors.New("the token is signed by a key that is not published")
	errNoKeys     = errors.New("the keys of Google cannot be read now")
)

// key finds a key. What is published is looked at when keys are old or one is unknown, and not again at once. While that
// fails, keys count for another while.
func (k *keySet) key(ctx context.Context, id string) (*rsa.PublicKey, error) {
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-k.turn }()
	now := k.now()
	unread := false
	if (k.known[id] == nil || now.Sub(k.got) >= keysLife) && now.Sub(k.asked) >= keysPause {
		k.asked = now
		// Whoever called first may go; the answer is for all, and the client has a timeout.
		read, err := k.read(context.WithoutCancel(ctx))
		if unread = err != nil; unread {
			k.failed(fmt.Errorf("read the keys of Google: %w", err))
		} else {
			k.known, k.got = read, now
		}
	}
	found, count := k.known[id], now.Sub(k.got) < 2*keysLife
	switch {
	case found != nil && count:
		return found, nil
	case unread, !count:
		return nil, errNoKeys
	}
	return nil, errUnknownKey
}

// read looks at what is published: a JSON Web Key Set, of which RSA keys are taken.
func (k *keySet) read(ctx context.Context) (map[string]*rsa.PublicKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(http.MaxBytesReader(nil, resp.Body, maxKeysBytes))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer is %d", resp.StatusCode)
	}
	return parseKeys(body)
}

// parseKeys reads a JSON Web Key Set; see RFC 7517 and, for RSA, section 6.3 of RFC 7518.
func parseKeys(body []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []struct {
			Type     string `json:"kty"`
			ID       string `json:"kid"`
			Modulus  string `json:"n"`
			Exponent string `json:"e"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("the answer is not a set of keys")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys are more than %d", len(set.Keys), maxKeys)
	}
	keys := map[string]*rsa.PublicKey{}
	for _, one := range set.Keys {
		modulus, err := base64.RawURLEncoding.DecodeString(one.Modulus)
		exponent, failed := base64.RawURLEncoding.DecodeString(one.Exponent)
		if one.Type != "RSA" || one.ID == "" || err != nil || failed != nil || len(exponent) > 4 {
			continue
		}
		key := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}
		if key.N.BitLen() >= minKeyBits && key.E >= 3 {
			keys[one.ID] = key
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no RSA key is among what is published")
	}
	return keys, nil
}
