package vault_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-cd/tandem/automator/internal/vault"
	"github.com/tandem-cd/tandem/automator/vaulttest"
	"github.com/tandem-cd/tandem/shared/fault"
)

const renewAt = "auth/token/renew-self"

// keep runs a client's keeper of the token until the test ends.
func (f *fixture) keep(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// TestTheTokenIsKeptAlive renews it while that is possible, logs in anew before it is not any more, and never shows one that has
// ended.
func TestTheTokenIsKeptAlive(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		grant            vaulttest.Grant
		logins, renewals int // within two hours
	}{
		"Periodic":     {vaulttest.Grant{TTL: 10 * time.Minute, Renewable: true}, 1, 24},
		"MaxTTL":       {vaulttest.Grant{TTL: 10 * time.Minute, MaxTTL: 30 * time.Minute, Renewable: true}, 5, 25},
		"NotRenewable": {vaulttest.Grant{TTL: 10 * time.Minute}, 24, 0},
		"Endless":      {vaulttest.Grant{}, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				tc.grant.Read = []string{path}
				f.fake.TakeLogin(loginAt, map[string]string{"role_id": "tandem", "secret_id": secretID}, tc.grant)
				f.keep(t)
				for range 119 {
					<-time.After(time.Minute)
					f.password(t)
				}
				logins, renewals := f.fake.Asked(loginAt), f.fake.Asked(renewAt)
				if f.fake.Denied() > 0 || logins > tc.logins || logins == 0 || renewals > tc.renewals || (renewals == 0) != (tc.renewals == 0) {
					t.Errorf("%d logins, %d renewals, %d requests with a token that had ended; want at most %d, %d and none",
						logins, renewals, f.fake.Denied(), tc.logins, tc.renewals)
				}
			})
		})
	}
}

// TestATokenInAFile is renewed, and replaced when somebody writes another one.
func TestATokenInAFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		proof := file(t, "hvs.first")
		f := newFixture(t, func(cfg *vault.Config) { cfg.Auth = vault.Auth{Token: vault.TokenAuth{File: proof}} })
		f.fake.TakeToken("hvs.first", vaulttest.Grant{TTL: 10 * time.Minute, Renewable: true, Read: []string{path}})
		f.keep(t)
		<-time.After(time.Hour)
		f.password(t)
		f.fake.RevokeTokens()
		f.fake.TakeToken("hvs.second", vaulttest.Grant{Read: []string{path}})
		rewrite(t, proof, "hvs.second")
		f.fake.PutKV2(path, map[string]any{"password": "rotated"})
		<-time.After(vault.ReadEvery)
		if got := f.password(t); got != "rotated" {
			t.Errorf("the password is %q", got)
		}
		if n := f.fake.Denied(); n > 2 {
			t.Errorf("%d requests with a token that does not count any more, want a read and a look", n)
		}
	})
}

// TestARevokedTokenIsReplaced logs in anew at once, and not again and again where that is of no use.
func TestARevokedTokenIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.password(t)
		f.fake.RevokeTokens()
		f.fake.PutKV2(path, map[string]any{"password": "rotated"})
		<-time.After(vault.ReadEvery)
		if got := f.password(t); got != "rotated" || f.fake.Asked(loginAt) != 2 {
			t.Errorf("the password is %q after %d logins", got, f.fake.Asked(loginAt))
		}
		denied := f.source(t, vault.Secret{Path: "secret/data/other"})
		for range 60 {
			<-time.After(time.Second)
			if _, err := denied.Credentials(t.Context()); !fault.Is(err, fault.Unauthorized) {
				t.Fatalf("Credentials: %v", err)
			}
		}
		if reads, logins := f.fake.Asked("secret/data/other"), f.fake.Asked(loginAt); reads > 5 || logins != 2 {
			t.Errorf("in a minute %d reads of what is denied, %d logins in all; want a read for each pause, and no login", reads, logins)
		}
	})
}

// TestSecretsAreReadAgain takes a new password within minutes, and at once when somebody does not take the old one.
func TestSecretsAreReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.password(t)
		f.fake.PutKV2(path, map[string]any{"password": "second"})
		<-time.After(vault.ReadEvery - time.Second)
		if got := f.password(t); got != "of-the-registry" {
			t.Errorf("before its time the password is %q", got)
		}
		<-time.After(time.Second)
		if got := f.password(t); got != "second" {
			t.Errorf("after some minutes the password is %q", got)
		}
		f.fake.PutKV2(path, map[string]any{"password": "third"})
		source := f.source(t, vault.Secret{Path: path})
		if !source.Refused("second") || f.password(t) != "third" {
			t.Errorf("what was refused is not read again at once: %q", f.password(t))
		}
		reads := f.fake.Asked(path)
		for range 50 { // within one pause
			source.Refused("third")
			f.password(t)
		}
		if n := f.fake.Asked(path) - reads; n > 0 {
			t.Errorf("%d reads for somebody who refuses everything", n)
		}
	})
}

// TestALeaseCounts asks every minute for what an engine makes, which must always count.
func TestALeaseCounts(t *testing.T) {
	t.Parallel()
	const made = "engine/creds/pull"
	for name, tc := range map[string]struct {
		lease time.Duration
		grant vaulttest.Grant
		reads int // within three hours
	}{
		"Lease":          {20 * time.Minute, vaulttest.Grant{TTL: 10 * time.Hour, Renewable: true}, 18},
		"TokenIsShort":   {10 * time.Hour, vaulttest.Grant{TTL: 20 * time.Minute, Renewable: true}, 36},
		"TokenIsBounded": {time.Hour, vaulttest.Grant{TTL: 20 * time.Minute, MaxTTL: 50 * time.Minute, Renewable: true}, 36},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				tc.grant.Read = []string{made}
				f.fake.TakeLogin(loginAt, map[string]string{"role_id": "tandem", "secret_id": secretID}, tc.grant)
				f.fake.MakeAt(made, tc.lease)
				f.keep(t)
				source := f.source(t, vault.Secret{Path: made, UsernameField: "username"})
				for range 180 {
					got, err := source.Credentials(t.Context())
					if err != nil || !f.fake.Counts(got.Password) {
						t.Fatalf("Credentials: %+v, %v; does it count: %v", got, err, f.fake.Counts(got.Password))
					}
					<-time.After(time.Minute)
				}
				if n := f.fake.Asked(made); n > tc.reads {
					t.Errorf("%d reads, want at most %d", n, tc.reads)
				}
			})
		})
	}
}

func TestLives(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const hour = 3600
	tests := map[string]struct {
		leaseID     string
		seconds     int64
		tokenEnds   time.Time
		ends, renew time.Time
	}{
		"KV2":         {"", 0, now.Add(time.Hour), time.Time{}, now.Add(vault.ReadEvery)},
		"KV1":         {"", 768 * hour, now.Add(time.Hour), time.Time{}, now.Add(vault.ReadEvery)},
		"KV1WithTTL":  {"", 60, time.Time{}, time.Time{}, now.Add(time.Minute)},
		"Lease":       {"id", hour, time.Time{}, now.Add(time.Hour), now.Add(30 * time.Minute)},
		"TokenBefore": {"id", hour, now.Add(10 * time.Minute), now.Add(10 * time.Minute), now.Add(5 * time.Minute)},
		"NoDuration":  {"id", 0, time.Time{}, time.Time{}, now.Add(vault.ReadEvery)},
		"Negative":    {"id", -hour, time.Time{}, time.Time{}, now.Add(vault.ReadEvery)},
		"Absurd":      {"id", 1 << 62, now.Add(time.Hour), now.Add(time.Hour), now.Add(30 * time.Minute)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if ends, renew := vault.LifeOf(tc.leaseID, tc.seconds, now, tc.tokenEnds); !ends.Equal(tc.ends) || !renew.Equal(tc.renew) {
				t.Errorf("ends %v, renewed %v; want %v, %v", ends.Sub(now), renew.Sub(now), tc.ends.Sub(now), tc.renew.Sub(now))
			}
		})
	}
}

// TestWhileVaultIsAway uses on what was read, says so everywhere, and is as before when it is back.
func TestWhileVaultIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.keep(t)
		f.password(t)
		stands(t, f, "current")
		f.fake.Seal(true)
		f.fake.PutKV2(path, map[string]any{"password": "rotated"})
		for range 24 * 60 {
			<-time.After(time.Minute)
			if got := f.password(t); got != "of-the-registry" {
				t.Fatalf("the password is %q", got)
			}
		}
		stands(t, f, "kept")
		tells(t, f, true, path+" of Vault: ", "token of Vault: ")
		if n := f.logs.FilterMessage("Vault gives no credentials").Len(); n != 2 {
			t.Errorf("%d warnings in a day, want one about the token and one about the secret", n)
		}
		f.fake.Seal(false)
		<-time.After(time.Minute)
		if got := f.password(t); got != "rotated" || len(f.Problems()) > 0 {
			t.Errorf("when Vault is back the password is %q, problems %+v", got, f.Problems())
		}
		stands(t, f, "current")
		if n := f.logs.FilterMessage("Vault gives credentials again").Len(); n != 2 {
			t.Errorf("%d lines say that it is over, want 2", n)
		}
	})
}

// TestTheWordOfVaultCounts has what was read end when Vault says so.
func TestTheWordOfVaultCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.password(t)
		f.fake.DeleteKV2(path)
		<-time.After(vault.ReadEvery)
		if got, err := f.source(t, vault.Secret{Path: path}).Credentials(t.Context()); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("Credentials: %+v, %v; want none of a secret that is deleted", got, err)
		}
		stands(t, f, "missing")
	})
}

// stands compares the metric of the one secret there is.
func stands(t *testing.T, f *fixture, want string) {
	t.Helper()
	var expected strings.Builder
	expected.WriteString("# HELP tandem_automator_vault_secrets Secrets of Vault: current; kept from before, since Vault gives none; or missing.\n# TYPE tandem_automator_vault_secrets gauge\n")
	for _, state := range []string{"current", "kept", "missing"} {
		value := "0"
		if state == want {
			value = "1"
		}
		expected.WriteString("tandem_automator_vault_secrets{state=\"" + state + "\"} " + value + "\n")
	}
	if err := testutil.GatherAndCompare(f.metrics, strings.NewReader(expected.String()), "tandem_automator_vault_secrets"); err != nil {
		t.Error(err)
	}
}

// TestWhatIsMissing is told from what counts on, and the token that it takes is missed then.
func TestWhatIsMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.password(t)
		f.fake.Seal(true)
		<-time.After(time.Hour) // beyond the end of the token
		f.password(t)
		tells(t, f, true, path+" of Vault: ", "token of Vault: ")
		for range 2 {
			if _, err := f.source(t, vault.Secret{Path: "kv/other"}).Credentials(t.Context()); !fault.Is(err, fault.Unavailable) {
				t.Errorf("Credentials: %v, want kind Unavailable", err)
			}
		}
		tells(t, f, true, path+" of Vault: ")
		tells(t, f, false, "kv/other of Vault: ", "token of Vault: ")
	})
}

// tells wants problems of a sealed Vault that begin so, in this order, among those that leave something that counts, or nothing.
func tells(t *testing.T, f *fixture, counts bool, begin ...string) {
	t.Helper()
	var told []string
	for _, problem := range f.Problems() {
		if problem.Counts == counts {
			told = append(told, problem.Problem.Error())
		}
	}
	same := func(told, begins string) bool {
		return strings.HasPrefix(told, begins) && strings.Contains(told, "sealed")
	}
	if !slices.EqualFunc(told, begin, same) {
		t.Errorf("problems that leave something %v: %q, want those of %q", counts, told, begin)
	}
}
