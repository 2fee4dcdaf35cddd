package story

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/yaml"

	enrollmentv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/enrollment/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

// cutWithin is how soon after a revocation the cluster's streams must have ended.
const cutWithin = 5 * time.Second

// issued returns when a site's newest certificate was issued.
func (s *Teller) issued(ctx context.Context, site string) (time.Time, error) {
	client, err := s.World.Enrollment()
	if err != nil {
		return time.Time{}, err
	}
	resp, err := client.ListIdentities(ctx, &enrollmentv1.ListIdentitiesRequest{})
	for _, id := range resp.GetIdentities() {
		if id.GetName() == site && id.GetRole() == enrollmentv1.Role_ROLE_CLUSTER {
			return id.GetIssued().AsTime(), err
		}
	}
	return time.Time{}, err
}

// renewed waits until a site has a newer certificate than now.
func renewed(s *Teller, _ *testscript.TestScript, args []string) error {
	site := home
	if len(args) > 0 {
		site = args[0]
	}
	before, err := s.issued(s.ctx, site)
	if err != nil {
		return err
	}
	return s.until(func(ctx context.Context) error {
		now, err := s.issued(ctx, site)
		if err == nil && !now.After(before) {
			err = fmt.Errorf("the certificate of %s is still from %s", site, before)
		}
		return err
	})
}

// revoke revokes a site, and fails if it is connected for longer than it may be.
func revoke(s *Teller, ts *testscript.TestScript, args []string) error {
	admin, err := s.World.Enrollment()
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := admin.Revoke(s.ctx, &enrollmentv1.RevokeRequest{Name: args[0]}); err != nil {
		return err
	}
	err = s.until(func(ctx context.Context) error {
		client, err := s.World.Status()
		if err != nil {
			return err
		}
		resp, err := client.ListClusters(ctx, &statusv1.ListClustersRequest{})
		for _, cluster := range resp.GetClusters() {
			if cluster.GetName() == args[0] && cluster.GetConnected() {
				return fmt.Errorf("%s is still connected", args[0])
			}
		}
		return err
	})
	took := time.Since(began)
	ts.Logf("%s cut off %s after the revocation began", args[0], took.Round(time.Millisecond))
	if err == nil && took > cutWithin {
		return fmt.Errorf("%s was connected for %s, want at most %s", args[0], took, cutWithin)
	}
	return err
}

// logged waits until an agent's log has a line that matches.
func logged(s *Teller, ts *testscript.TestScript, args []string) error {
	pattern, err := regexp.Compile(args[1])
	if err != nil {
		return err
	}
	path := s.agent(ts, args[:1]).Log()
	return s.until(func(context.Context) error {
		text, err := os.ReadFile(path)
		if err == nil && !pattern.Match(text) {
			err = fmt.Errorf("%s has no line that matches %s", path, pattern)
		}
		return err
	})
}

// configure puts the keys of a file in the place of those of an agent's configuration; they count from its next start.
func configure(s *Teller, ts *testscript.TestScript, args []string) error {
	path := s.agent(ts, args[1:]).Config()
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	config := map[string]any{}
	for _, text := range []string{string(before), s.expand(ts.ReadFile(args[0]))} {
		if err := yaml.Unmarshal([]byte(text), &config); err != nil {
			return err
		}
	}
	after, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(path, after, 0o600)
}

// replaced puts the content of a file in the place of another, in one step, as Kubernetes does with a mounted Secret.
func replaced(_ *Teller, ts *testscript.TestScript, args []string) error {
	path := ts.MkAbs(args[0])
	if err := os.WriteFile(path+".new", []byte(ts.ReadFile(args[1])), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
