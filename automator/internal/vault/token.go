package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
)

const (
	// endlessTokenEvery is how often a token without an end is looked at.
	endlessTokenEvery = time.Hour
	// keepAliveEvery is how soon the keeper of the token looks again after a failure.
	keepAliveEvery = 15 * time.Second
)

// token is a token of Vault.
type token struct {
	value     string
	renewable bool
	granted   time.Duration // its time to live when it was new; 0 for a token without an end
	ends      time.Time     // zero for a token without an end
}

// Run logs in and keeps the token alive, so that neither it nor the leases that end with it are lost while nobody reads.
func (c *Client) Run(ctx context.Context) error {
	if c.tokens == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	for {
		got, _ := c.tokens.Credentials(ctx) // what fails is logged where it does
		timer := time.NewTimer(max(time.Until(got.Renew), keepAliveEvery))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// issueToken returns a token for some time.
func (c *Client) issueToken(ctx context.Context) (shortlived.Credentials, error) {
	next := c.logInAnew
	if c.method.path == "" {
		next = c.takeFromFile
	}
	got, err := next(ctx)
	if err != nil {
		return shortlived.Credentials{}, err
	}
	return c.hold(got), nil
}

// logInAnew renews the token, or logs in where that is no use: there is none, it is not to be renewed, or it comes to the end
// beyond which it is not.
func (c *Client) logInAnew(ctx context.Context) (token, error) {
	if c.held.usable(time.Now()) {
		renewed, err := c.renew(ctx)
		if fault.Is(err, fault.Unavailable) || err == nil && renewed.lasts() {
			return renewed, err
		}
	}
	return c.logIn(ctx)
}

// takeFromFile renews the token in the file, or looks at what it has left.
func (c *Client) takeFromFile(ctx context.Context) (token, error) {
	value, err := c.method.proof()
	if err != nil {
		return token{}, err
	}
	c.secrets.Add(value)
	if value == c.held.value && c.held.usable(time.Now()) {
		renewed, err := c.renew(ctx)
		if fault.Is(err, fault.Unavailable) || err == nil {
			return renewed, err
		}
	}
	found, err := c.lookUp(ctx, value)
	if err != nil {
		return token{}, fmt.Errorf("%s: %w", c.method.proofFile, err)
	}
	return found, nil
}

// usable tells whether a token can be renewed.
func (t token) usable(now time.Time) bool {
	return t.renewable && (t.ends.IsZero() || now.Before(t.ends))
}

// lasts tells whether a renewal brought at least half of what a login does.
func (t token) lasts() bool {
	return t.granted == 0 || time.Until(t.ends) >= t.granted/2
}

// hold keeps a token for the next renewal.
func (c *Client) hold(t token) shortlived.Credentials {
	c.held = t
	c.secrets.Add(t.value)
	renew := time.Now().Add(endlessTokenEvery)
	if !t.ends.IsZero() {
		renew = time.Now().Add(time.Until(t.ends) / 2)
	}
	return shortlived.Credentials{Password: t.value, Expires: t.ends, Renew: renew}
}

func (c *Client) logIn(ctx context.Context) (token, error) {
	proof, err := c.method.proof()
	if err != nil {
		return token{}, err
	}
	c.secrets.Add(proof)
	asked := time.Now()
	got, err := c.ask(ctx, request{operation: opLogin, method: http.MethodPost, path: c.method.path, body: c.method.body(proof)})
	switch {
	case says(err, http.StatusForbidden), says(err, http.StatusNotFound):
		return token{}, fmt.Errorf("log in at %s: %w; Vault says the same where no auth method is enabled, and in another namespace", c.method.path, err)
	case err != nil:
		return token{}, fmt.Errorf("log in at %s: %w", c.method.path, err)
	case !isToken(got.Auth.ClientToken):
		return token{}, fmt.Errorf("log in at %s: %w", c.method.path, c.noVault(fault.Unauthorized, "the answer has no token"))
	}
	fresh := token{value: got.Auth.ClientToken, renewable: got.Auth.Renewable}
	return fresh.living(asked, seconds(got.Auth.LeaseDuration)), nil
}

// renew returns the token that is held as it is after its renewal.
func (c *Client) renew(ctx context.Context) (token, error) {
	asked, renewed := time.Now(), c.held
	got, err := c.ask(ctx, request{operation: opRenew, method: http.MethodPost, path: "auth/token/renew-self", token: renewed.value, body: struct{}{}})
	if err == nil && !isToken(got.Auth.ClientToken) {
		err = c.noVault(fault.Unauthorized, "the answer has no token")
	}
	if err != nil {
		return token{}, fmt.Errorf("renew the token: %w", err)
	}
	granted := renewed.granted
	renewed.renewable = got.Auth.Renewable
	renewed = renewed.living(asked, seconds(got.Auth.LeaseDuration))
	renewed.granted = granted
	return renewed, nil
}

// lookUp asks what there is to know of a token.
func (c *Client) lookUp(ctx context.Context, value string) (token, error) {
	asked := time.Now()
	got, err := c.ask(ctx, request{operation: opLookup, method: http.MethodGet, path: "auth/token/lookup-self", token: value})
	if err != nil {
		return token{}, fmt.Errorf("look up the token: %w", err)
	}
	var ttl int64
	var renewable bool
	if json.Unmarshal(got.Data["ttl"], &ttl) != nil || json.Unmarshal(got.Data["renewable"], &renewable) != nil {
		return token{}, fmt.Errorf("look up the token: %w", c.noVault(fault.Unauthorized, "the answer does not say how long it lives"))
	}
	return token{value: value, renewable: renewable}.living(asked, seconds(ttl)), nil
}

// living is a token with what it has left; 0 is for ever.
func (t token) living(since time.Time, left time.Duration) token {
	t.granted, t.ends = left, time.Time{}
	if left > 0 {
		t.ends = since.Add(left)
	}
	return t
}

// isToken tells whether a token can be sent in a header.
func isToken(value string) bool {
	return value != "" && !strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
