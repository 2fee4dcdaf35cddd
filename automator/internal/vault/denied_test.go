package vault_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cd/tandem/automator/internal/vault"
	"github.com/tandem-cd/tandem/automator/vaulttest"
	"github.com/tandem-cd/tandem/shared/fault"
)

// blind has the tests' role give tokens without an end that can tell nothing about themselves.
func blind(f *fixture, paths ...string) {
	f.fake.TakeLogin(loginAt, map[string]string{"role_id": "tandem", "secret_id": secretID}, vaulttest.Grant{NoSelf: true, Read: paths})
}

// TestDeniedPathsMakeNoLoginsOverAndOver asks for an hour for paths that are denied to tokens which cannot look themselves up: the
// answer is the same as for tokens that are none any more.
func TestDeniedPathsMakeNoLoginsOverAndOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		blind(f, path)
		paths := []string{"secret/data/one", "secret/data/other"}
		for second := range 3500 {
			<-time.After(time.Second)
			for _, denied := range paths {
				_, err := f.source(t, vault.Secret{Path: denied}).Credentials(t.Context())
				if err == nil || second > 60 && !fault.Is(err, fault.Unauthorized) {
					t.Fatalf("Credentials in %s: %v", denied, err)
				}
			}
		}
		if n := f.fake.Asked(loginAt); n > 1+len(paths) {
			t.Errorf("%d logins in an hour, want the first and one for each path that is denied", n)
		}
	})
}

// TestARevokedTokenThatCannotLookItselfUp is replaced, whatever is denied to it besides or was before.
func TestARevokedTokenThatCannotLookItselfUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		blind(f, "secret/data/none")
		source := f.source(t, vault.Secret{Path: path})
		if _, err := source.Credentials(t.Context()); !fault.Is(err, fault.Unauthorized) {
			t.Fatalf("Credentials: %v, want it denied", err)
		}
		f.fake.Allow(path)
		<-time.After(vault.ReadEvery)
		f.password(t)
		f.fake.RevokeTokens()
		f.fake.PutKV2(path, map[string]any{"password": "rotated"})
		<-time.After(vault.ReadEvery)
		if got := f.password(t); got != "rotated" || f.fake.Asked(loginAt) != 3 {
			t.Errorf("the password is %q after %d logins, want it read by a third", got, f.fake.Asked(loginAt))
		}
	})
}
