package cloud

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cd/tandem/shared/fault"
)

func TestWhoseRegistry(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		provider Provider
		host     string
		ok       bool
	}{
		"ECR":              {AWS, "123456789012.dkr.ecr.eu-central-1.amazonaws.com", true},
		"ECRFIPS":          {AWS, "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", true},
		"ECRChina":         {AWS, "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", true},
		"ECRDualStack":     {AWS, "123456789012.dkr-ecr.eu-west-1.on.aws", true},
		"ECRPublic":        {AWS, "public.ecr.aws", true},
		"ECRWithMore":      {AWS, "123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.test", false},
		"ECRWithPort":      {AWS, "123456789012.dkr.ecr.eu-central-1.amazonaws.com:8443", false},
		"ECROfNobody":      {AWS, "x.dkr.ecr.eu-central-1.amazonaws.com", false},
		"GCR":              {Google, "eu.gcr.io", true},
		"ArtifactRegistry": {Google, "europe-west3-docker.pkg.dev", true},
		"OtherPackages":    {Google, "europe-west3-npm.pkg.dev", false},
		"LikeGCR":          {Google, "evilgcr.io", false},
		"ACR":              {Azure, "acme.azurecr.io", true},
		"LikeACR":          {Azure, "evilazurecr.io", false},
		"ACRWithPort":      {Azure, "acme.azurecr.io:8443", false},
		"Elsewhere":        {AWS, "acme.azurecr.io", false},
		"Unknown":          {"oracle", "fra.ocir.io", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := check(tc.provider, tc.host); (err == nil) != tc.ok {
				t.Errorf("check(%s, %s): %v", tc.provider, tc.host, err)
			}
		})
	}
}

// fakeCloud gives credentials for an hour, or what fails.
type fakeCloud struct {
	asked atomic.Int32
	life  time.Duration
	err   atomic.Pointer[error]
}

func (f *fakeCloud) exchange(context.Context, string) (Credentials, error) {
	f.asked.Add(1)
	if err := f.err.Load(); err != nil {
		return Credentials{}, *err
	}
	return Credentials{Username: "user", Password: "token", Expires: time.Now().Add(f.life)}, nil
}

func (f *fakeCloud) fail(err error) { f.err.Store(&err) }

func (f *fakeCloud) source() *Source { return newSource(AWS, "registry.test", f.exchange) }

func TestCredentialsAreKeptUntilShortlyBeforeTheirEnd(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ life, fresh, stale time.Duration }{
		"Long":  {time.Hour, 54 * time.Minute, 56 * time.Minute},
		"Short": {2 * time.Minute, 50 * time.Second, 70 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cloud := &fakeCloud{life: tc.life}
				source := cloud.source()
				var together sync.WaitGroup
				for range 10 {
					together.Go(func() {
						if got, err := source.Credentials(t.Context()); err != nil || got.Password != "token" {
							t.Errorf("Credentials: %+v, %v", got, err)
						}
					})
				}
				together.Wait()
				<-time.After(tc.fresh)
				if _, err := source.Credentials(t.Context()); err != nil || cloud.asked.Load() != 1 {
					t.Errorf("%d exchanges, error %v; want one for all", cloud.asked.Load(), err)
				}
				<-time.After(tc.stale - tc.fresh)
				if _, err := source.Credentials(t.Context()); err != nil || cloud.asked.Load() != 2 {
					t.Errorf("%d exchanges, error %v; want another shortly before the end", cloud.asked.Load(), err)
				}
			})
		})
	}
}

func TestAFailureCountsForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := &fakeCloud{life: time.Hour}
		cloud.fail(errors.New("no role"))
		source := cloud.source()
		for range 5 {
			_, err := source.Credentials(t.Context())
			if !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), "no role") || !strings.Contains(err.Error(), "registry.test") {
				t.Fatalf("Credentials: %v, want what failed, for whom", err)
			}
		}
		if cloud.asked.Load() != 1 {
			t.Errorf("%d exchanges within the pause, want 1", cloud.asked.Load())
		}
		cloud.err.Store(nil)
		<-time.After(pauseAfterFailure)
		if _, err := source.Credentials(t.Context()); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

func TestWhatStillCountsOutlivesAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := &fakeCloud{life: time.Hour}
		source := cloud.source()
		if _, err := source.Credentials(t.Context()); err != nil {
			t.Fatal(err)
		}
		cloud.fail(errors.New("down"))
		<-time.After(time.Hour - renewBefore)
		if got, err := source.Credentials(t.Context()); err != nil || got.Password != "token" {
			t.Errorf("a renewal that fails early: %+v, %v; want what still counts", got, err)
		}
		<-time.After(renewBefore)
		if got, err := source.Credentials(t.Context()); err == nil {
			t.Errorf("after their end: %+v, want an error", got)
		}
	})
}

func TestWhoGivesUpTakesNothingFromOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		source := newSource(AWS, "registry.test", func(ctx context.Context, _ string) (Credentials, error) {
			select {
			case <-answer:
				return Credentials{Username: "user", Password: "token", Expires: time.Now().Add(time.Hour)}, nil
			case <-ctx.Done():
				return Credentials{}, ctx.Err()
			}
		})
		impatient, cancel := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		gone := make(chan struct{})
		asking.Go(func() {
			defer close(gone)
			if _, err := source.Credentials(impatient); !errors.Is(err, context.Canceled) {
				t.Errorf("who gives up: %v", err)
			}
		})
		synctest.Wait()
		asking.Go(func() {
			if _, err := source.Credentials(t.Context()); err != nil {
				t.Errorf("who waits: %v", err)
			}
		})
		cancel()
		<-gone
		synctest.Wait()
		close(answer)
		asking.Wait()
	})
}
