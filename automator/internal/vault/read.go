package vault

import (
	"context"
	"net/http"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/shortlived"
	"github.com/tandem-cd/tandem/shared/fault"
)

const (
	// readEvery is how often a secret without a lease is read: nobody says until when a value in a KV counts.
	readEvery = 5 * time.Minute
	// deniedFor is how long it counts that a path is denied to a new token too: no other login is made for it.
	deniedFor = time.Hour
	// maxLease bounds what is believed of a lease, which is a number of seconds.
	maxLease = 10 * 365 * 24 * time.Hour
)

// reader reads one secret for its source, which asks once at a time.
type reader struct {
	*Client

	secret Secret
	denied time.Time // when it was denied to a new token last; zero where that says nothing (any more)
}

// issue reads the secret.
func (r *reader) issue(ctx context.Context) (shortlived.Credentials, error) {
	asked := time.Now()
	got, token, err := r.read(ctx)
	if err != nil {
		return shortlived.Credentials{}, err
	}
	username, password, err := r.secret.pick(fieldsOf(got.Data))
	if err != nil {
		return shortlived.Credentials{}, err
	}
	r.secrets.Add(password)
	credentials := shortlived.Credentials{Username: username, Password: password}
	credentials.Expires, credentials.Renew = got.life(asked, token.Expires)
	return credentials, nil
}

// read reads the path, and returns the token that it was read with.
func (r *reader) read(ctx context.Context) (got answer, shown shortlived.Credentials, err error) {
	shown, err = r.tokens.Credentials(ctx)
	if err != nil {
		return answer{}, shown, err
	}
	got, err = r.readWith(ctx, shown.Password)
	if !says(err, http.StatusForbidden) {
		return got, shown, explain(r.secret.Path, err)
	}
	useless, lookErr := r.refused(ctx, shown.Password)
	switch {
	case lookErr != nil:
		return answer{}, shown, lookErr
	case !useless:
		return answer{}, shown, explain(r.secret.Path, err)
	}
	refused := shown.Password
	if shown, err = r.tokens.Credentials(ctx); err != nil {
		return answer{}, shown, err
	}
	if problem := r.tokens.Standing().Problem; problem != nil && shown.Password == refused {
		return answer{}, shown, problem
	}
	got, err = r.readWith(ctx, shown.Password)
	if says(err, http.StatusForbidden) {
		r.denied = time.Now()
	}
	return got, shown, explain(r.secret.Path, err)
}

// refused tells whether a token that the path is denied to may be none any more, and has another one issued then. Vault says the
// same to a token that it does not know as to one that may not read the path, nor perhaps look itself up. Of the latter a new login
// is proof, so it is not made over and over.
func (r *reader) refused(ctx context.Context, token string) (bool, error) {
	_, err := r.lookUp(ctx, token)
	switch {
	case err == nil:
		r.denied = time.Time{}
		return false, nil
	case !says(err, http.StatusForbidden):
		return false, err
	case time.Since(r.denied) < deniedFor:
		return false, nil
	case !r.tokens.Refused(token):
		return false, fault.New(fault.Unavailable, "%w, though the token is new; the next one is asked for in a moment", err)
	}
	return true, nil
}

func (r *reader) readWith(ctx context.Context, token string) (answer, error) {
	got, err := r.ask(ctx, request{operation: opRead, method: http.MethodGet, path: r.secret.Path, token: token})
	switch {
	case err != nil:
		return answer{}, err
	case got.Data == nil:
		return answer{}, r.noVault(fault.Unauthorized, "the answer has no data")
	}
	r.denied = time.Time{}
	return got, nil
}

// life says when what was read ends, and when it is to be read again. A lease ends with the token that it was given to.
func (a answer) life(asked, tokenEnds time.Time) (ends, renew time.Time) {
	lease := seconds(a.LeaseDuration)
	if a.LeaseID == "" || lease == 0 {
		every := readEvery
		if lease > 0 { // what a KV of version 1 recommends
			every = min(every, lease)
		}
		return time.Time{}, asked.Add(every)
	}
	ends = asked.Add(lease)
	if !tokenEnds.IsZero() && tokenEnds.Before(ends) {
		ends = tokenEnds
	}
	return ends, asked.Add(ends.Sub(asked) / 2)
}

func seconds(n int64) time.Duration {
	if n > int64(maxLease/time.Second) {
		return maxLease
	}
	return time.Duration(max(n, 0)) * time.Second
}
