package store_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/automator/internal/store/postgrestest"
	revisionv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/revision/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(appendForeverTo); path != "" {
		appendForever(path)
		return
	}
	goleak.VerifyTestMain(postgrestest.Closing(m))
}

// engine makes an empty database of one kind. What it returns opens that database, again and again, with a retention.
type engine func(t testing.TB) (open func(store.Retention) *store.Store)

// engines are what the contract holds for.
var engines = map[string]engine{
	"SQLite": func(t testing.TB) func(store.Retention) *store.Store {
		t.Helper()
		path := filepath.Join(t.TempDir(), "store.db")
		return func(retention store.Retention) *store.Store { return openAt(t, path, retention) }
	},
	"PostgreSQL": func(t testing.TB) func(store.Retention) *store.Store {
		t.Helper()
		database := postgrestest.Database(t)
		return func(retention store.Retention) *store.Store {
			return mustOpen(t, store.Config{Postgres: database, Retention: retention})
		}
	},
}

// openAt opens a SQLite store and closes it after the test.
func openAt(t testing.TB, path string, retention store.Retention) *store.Store {
	t.Helper()
	return mustOpen(t, store.Config{Path: path, Retention: retention})
}

// mustOpen opens a store and closes it after the test.
func mustOpen(t testing.TB, cfg store.Config) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// epoch is when the first test event happens.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// event returns the n-th event, one second after the one before, changed.
func event(n int, change ...func(*statusv1.Event)) *statusv1.Event {
	id := sha256.Sum256(fmt.Append(nil, n))
	e := &statusv1.Event{
		Id:      id[:],
		Time:    timestamppb.New(epoch.Add(time.Duration(n) * time.Second)),
		State:   statusv1.EventState_EVENT_STATE_APPLIED,
		Cluster: "prod",
		Message: fmt.Sprintf("event %d", n),
	}
	for _, c := range change {
		c(e)
	}
	return e
}

func in(cluster string) func(*statusv1.Event) {
	return func(e *statusv1.Event) { e.Cluster = cluster }
}

func state(s statusv1.EventState) func(*statusv1.Event) {
	return func(e *statusv1.Event) { e.State = s }
}

func about(commit byte) func(*statusv1.Event) {
	return func(e *statusv1.Event) {
		e.Revision = &revisionv1.Revision{
			Commit:    &revisionv1.ObjectId{Algorithm: revisionv1.HashAlgorithm_HASH_ALGORITHM_SHA1, Value: bytes.Repeat([]byte{commit}, 20)},
			ContentId: bytes.Repeat([]byte{commit}, 32),
		}
	}
}

func image(digests ...string) func(*statusv1.Event) {
	return func(e *statusv1.Event) {
		for _, digest := range digests {
			e.Images = append(e.Images, &revisionv1.Image{Repository: "ghcr.io/acme/api", Digest: digest})
		}
	}
}

func messages(events []*statusv1.Event) []string {
	var texts []string
	for _, e := range events {
		texts = append(texts, e.GetMessage())
	}
	return texts
}
