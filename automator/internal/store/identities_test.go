package store_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/shared/instant"
)

// identities is that the newest certificate counts, and that clusters with a token alone are listed.
func identities(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	newest := store.Identity{
		Role: "cluster", Name: "prod", Serial: "2", Issued: epoch.Add(time.Hour), Expires: epoch.Add(2 * time.Hour), Key: "k", Authority: "a", Version: "1.2",
	}
	older := newest
	older.Serial, older.Issued = "1", epoch
	for _, id := range []store.Identity{older, newest, older} {
		if err := s.PutCertificate(t.Context(), id, epoch); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutToken(t.Context(), store.Token{Hash: "h", Cluster: "stage", Created: epoch, Expires: epoch.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	all, err := s.Identities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []store.Identity{newest, {Role: "cluster", Name: "stage", TokenExpires: epoch.Add(time.Hour)}}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("Identities(...): -want, +got:\n%s", diff)
	}
	if _, found, err := s.Identity(t.Context(), "cluster", "nobody"); found || err != nil {
		t.Errorf("an identity that nobody has: %v, %v", found, err)
	}
}

// redeemOnce is that of many who redeem a token at once, in two stores of one database, one is the first.
func redeemOnce(t *testing.T, open func(store.Retention) *store.Store) {
	stores := []*store.Store{open(store.Retention{}), open(store.Retention{})}
	if err := stores[0].PutToken(t.Context(), store.Token{Hash: "h", Cluster: "prod", Created: epoch, Expires: epoch.Add(time.Hour), Replace: true}); err != nil {
		t.Fatal(err)
	}
	errRedeemed := errors.New("redeemed")
	var first atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, found, err := stores[i%2].RedeemToken(t.Context(), "h", "key", epoch, func(kept store.Token) error {
				if !kept.Redeemed.IsZero() {
					return errRedeemed
				}
				return nil
			})
			switch {
			case err == nil && found:
				first.Add(1)
			case !errors.Is(err, errRedeemed):
				t.Errorf("RedeemToken(...): %v, %v", found, err)
			}
		})
	}
	wg.Wait()
	if n := first.Load(); n != 1 {
		t.Errorf("%d were the first to redeem a token", n)
	}
	if _, found, err := stores[0].RedeemToken(t.Context(), "unknown", "key", epoch, nil); found || err != nil {
		t.Errorf("a token that nobody made: %v, %v", found, err)
	}
	revoked, err := stores[1].Revocations(t.Context())
	if diff := cmp.Diff([]store.Identity{{Role: "cluster", Name: "prod", Revoked: epoch}}, revoked); diff != "" || err != nil {
		t.Errorf("after a token that replaces was redeemed: %v, -want, +got:\n%s", err, diff)
	}
}

// revoke is that a revocation never becomes weaker and voids tokens, and that who revokes is not told.
func revoke(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	revocations, cancel := s.Subscribe(store.Revocations)
	defer cancel()
	events, cancelEvents := s.Subscribe(store.Events)
	defer cancelEvents()
	for _, hash := range []string{"open", "used"} {
		if err := s.PutToken(t.Context(), store.Token{Hash: hash, Cluster: "prod", Created: epoch, Expires: epoch.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	fine := func(store.Token) error { return nil }
	if _, found, err := s.RedeemToken(t.Context(), "used", "key", epoch, fine); !found || err != nil {
		t.Fatal(found, err)
	}
	want := epoch.Add(time.Minute)
	for _, at := range []time.Time{want, epoch} {
		if until, err := s.Revoke(t.Context(), "cluster", "prod", at); err != nil || !until.Equal(want) {
			t.Errorf("Revoke(..., %s) = %s, %v; want %s", at, until, err, want)
		}
	}
	all, err := s.Revocations(t.Context())
	if diff := cmp.Diff([]store.Identity{{Role: "cluster", Name: "prod", Revoked: want}}, all); diff != "" || err != nil {
		t.Errorf("Revocations(...): %v, -want, +got:\n%s", err, diff)
	}
	for _, hash := range []string{"open", "used"} {
		if _, found, err := s.RedeemToken(t.Context(), hash, "key", epoch, fine); found || err != nil {
			t.Errorf("the %s token of who was revoked: %v, %v", hash, found, err)
		}
	}
	select {
	case <-revocations:
		t.Error("a signal after a revocation of its own")
	case <-events:
		t.Error("a revocation is no event")
	default:
	}
}

// revokeAhead is that a revocation covers a certificate from a clock that is ahead, and that none is renewed after it.
func revokeAhead(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	ahead := epoch.Add(time.Second)
	first := store.Identity{Role: "cluster", Name: "prod", Serial: "1", Issued: ahead, Expires: ahead.Add(time.Hour)}
	if err := s.PutCertificate(t.Context(), first, epoch); err != nil {
		t.Fatal(err)
	}
	if until, err := s.Revoke(t.Context(), "cluster", "prod", epoch); err != nil || !until.Equal(ahead) {
		t.Errorf("Revoke(...) = %s, %v; want %s", until, err, ahead)
	}
	next := first
	next.Serial, next.Issued = "2", ahead.Add(time.Second)
	if err := s.PutCertificate(t.Context(), next, first.Issued); !errors.Is(err, store.ErrRevoked) {
		t.Errorf("a renewal after the revocation: %v", err)
	}
	if err := s.PutCertificate(t.Context(), next, ahead.Add(time.Microsecond)); err != nil {
		t.Errorf("enrolling anew: %v", err)
	}
	if err := s.PutCertificate(t.Context(), next, next.Issued); err != nil {
		t.Errorf("a renewal of what came after: %v", err)
	}
}

// replaceVoids is that a token which replaces keeps the key before it from repeating its own.
func replaceVoids(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	fine := func(store.Token) error { return nil }
	for i, hash := range []string{"old", "new"} {
		if err := s.PutToken(t.Context(), store.Token{Hash: hash, Cluster: "prod", Created: epoch, Expires: epoch.Add(time.Hour), Replace: i == 1}); err != nil {
			t.Fatal(err)
		}
	}
	for _, hash := range []string{"old", "new"} {
		token, found, err := s.RedeemToken(t.Context(), hash, hash, epoch, fine)
		if !found || err != nil || token.Revoked.IsZero() == token.Replace {
			t.Fatalf("RedeemToken(%s) = %+v, %v, %v", hash, token, found, err)
		}
	}
	if _, found, err := s.RedeemToken(t.Context(), "old", "old", epoch, fine); found || err != nil {
		t.Errorf("the old token: %v, %v", found, err)
	}
	if token, found, err := s.RedeemToken(t.Context(), "new", "new", epoch.Add(time.Second), fine); !found || err != nil || !token.Revoked.Equal(epoch) {
		t.Errorf("the new token, repeated: %+v, %v, %v; want no second revocation", token, found, err)
	}
}

// revokeUnderWay is that a revocation reaches an enrollment between the redemption of its token and its certificate.
func revokeUnderWay(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	put := func(hash string, replace bool) {
		if err := s.PutToken(t.Context(), store.Token{Hash: hash, Cluster: "prod", Created: epoch, Expires: epoch.Add(time.Hour), Replace: replace}); err != nil {
			t.Fatal(err)
		}
	}
	redeem := func(hash string, at time.Time) time.Time {
		token, found, err := s.RedeemToken(t.Context(), hash, hash, at, func(store.Token) error { return nil })
		if !found || err != nil {
			t.Fatalf("RedeemToken(%s): %v, %v", hash, found, err)
		}
		return token.Revoked.Add(time.Microsecond)
	}
	id := store.Identity{Role: "cluster", Name: "prod", Serial: "1", Issued: epoch.Add(time.Hour), Expires: epoch.Add(2 * time.Hour)}

	put("first", false)
	first := redeem("first", epoch)
	revoked := epoch.Add(time.Minute)
	if _, err := s.Revoke(t.Context(), "cluster", "prod", revoked); err != nil {
		t.Fatal(err)
	}
	if err := s.PutCertificate(t.Context(), id, first); !errors.Is(err, store.ErrRevoked) {
		t.Errorf("revoked for the first time: %v", err)
	}

	put("second", false)
	for _, at := range []time.Time{revoked, revoked.Add(time.Second)} {
		if second := redeem("second", at); !second.Equal(revoked.Add(time.Microsecond)) {
			t.Errorf("redeemed at %s after a revocation until %s: counts from %s", at, revoked, second)
		}
	}
	put("third", true)
	third := redeem("third", revoked.Add(time.Minute))
	if err := s.PutCertificate(t.Context(), id, revoked.Add(time.Microsecond)); !errors.Is(err, store.ErrRevoked) {
		t.Errorf("replaced while it was under way: %v", err)
	}
	if err := s.PutCertificate(t.Context(), id, third); err != nil {
		t.Errorf("who replaced it: %v", err)
	}
}

// foreignText is that texts which somebody else made up are stored, whatever is in them.
func foreignText(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	const evil = "a\x00b\xffc"
	const tame = "a\ufffdb\ufffdc"
	err := s.PutTags(t.Context(), "ghcr.io/acme/api", store.Scan{LastAttempt: epoch, LastError: evil}, []store.Tag{{Name: "1", Platforms: evil, FirstSeen: instant.MicrosOf(epoch)}})
	if err != nil {
		t.Fatal(err)
	}
	scan, tags, err := s.Tags(t.Context(), "ghcr.io/acme/api")
	if err != nil || scan.LastError != tame || len(tags) != 1 || tags[0].Platforms != tame {
		t.Errorf("Tags(...) = %+q, %+v, %v", scan.LastError, tags, err)
	}
	id := store.Identity{Role: "cluster", Name: "prod", Issued: epoch, Version: evil}
	if err := s.PutCertificate(t.Context(), id, epoch); err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.Identity(t.Context(), "cluster", "prod"); err != nil || got.Version != tame {
		t.Errorf("Identity(...) = %+q, %v", got.Version, err)
	}
}
