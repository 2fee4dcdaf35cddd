package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tandem-cd/tandem/automator/internal/store"
	"github.com/tandem-cd/tandem/automator/internal/store/postgrestest"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

// hold has the superuser run a statement in a transaction that stays open until release.
func hold(t *testing.T, database, statement string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), postgrestest.Superuser(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	for _, sql := range []string{"BEGIN", statement} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
			t.Error(err)
		}
	}
}

// running has a store hear others until the test ends. Errors go to report.
func running(t *testing.T, s *store.Store, report func(error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, report) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run(...): %v", err)
		}
	})
}

// unexpected fails a test on any error.
func unexpected(t *testing.T) func(error) {
	t.Helper()
	return func(err error) { t.Errorf("reported: %v", err) }
}

// signalled waits for a signal, for less time than polling would take.
func signalled(t *testing.T, ch <-chan struct{}, why string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(store.PollEvery * 8 / 10):
		t.Errorf("no signal %s", why)
	}
}

// calm takes the signals that a store gives when it begins to hear.
func calm(t *testing.T, channels ...<-chan struct{}) {
	t.Helper()
	for _, ch := range channels {
		signalled(t, ch, "when it began to hear")
	}
}

// TestReplicasHearEachOther has two stores on one database.
func TestReplicasHearEachOther(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Postgres: postgrestest.Database(t)}
	one, two := mustOpen(t, cfg), mustOpen(t, cfg)
	heard, cancelHeard := two.Subscribe(store.Events)
	defer cancelHeard()
	revoked, cancelRevoked := two.Subscribe(store.Revocations)
	defer cancelRevoked()
	own, cancelOwn := one.Subscribe(store.Events)
	defer cancelOwn()
	running(t, two, unexpected(t))
	running(t, one, unexpected(t))
	calm(t, heard, revoked, own)

	mustAppend(t, one, event(1))
	signalled(t, heard, "after another store appended")
	signalled(t, own, "after an append of its own")
	select {
	case <-revoked:
		t.Error("an event is no revocation")
	case <-own:
		t.Error("its own announcement came back")
	default:
	}
	if _, err := one.Revoke(t.Context(), "cluster", "prod", epoch); err != nil {
		t.Fatal(err)
	}
	signalled(t, revoked, "after another store revoked")
	if all, err := two.Revocations(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("Revocations(...) = %v, %v", all, err)
	}
}

// TestReplicasHearWithoutAnnouncements has them lost, as by a pooler.
func TestReplicasHearWithoutAnnouncements(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Postgres: postgrestest.Database(t)}
	s := mustOpen(t, cfg)
	heard, cancel := s.Subscribe(store.Events)
	defer cancel()
	revoked, cancelRevoked := s.Subscribe(store.Revocations)
	defer cancelRevoked()
	running(t, s, unexpected(t))
	calm(t, heard, revoked)
	postgrestest.Execute(t, cfg.Postgres.Database, "UPDATE counters SET value = 7") // without a word
	for _, ch := range []<-chan struct{}{heard, revoked} {
		select {
		case <-ch:
		case <-time.After(6 * store.PollEvery):
			t.Error("no signal although it was time to look")
		}
	}
}

// cut ends every connection of a store.
func cut(t *testing.T, cfg store.Postgres) {
	t.Helper()
	postgrestest.Execute(t, cfg.Database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+cfg.User+"'")
}

// TestListenerComesBack has its connection cut.
func TestListenerComesBack(t *testing.T) {
	t.Parallel()
	cfg := store.Config{Postgres: postgrestest.Database(t)}
	one, two := mustOpen(t, cfg), mustOpen(t, cfg)
	heard, cancel := two.Subscribe(store.Events)
	defer cancel()
	var reported atomic.Int64
	running(t, two, func(error) { reported.Add(1) })
	calm(t, heard)
	cut(t, cfg.Postgres)
	eventually(t, func() error { // it hears again once it has looked
		select {
		case <-heard:
			return nil
		default:
			return errors.New("the listener did not come back")
		}
	})
	if reported.Load() == 0 {
		t.Error("nobody was told that the connection was lost")
	}
	eventually(t, func() error { // its connections were cut too
		_, err := one.AppendEvents(t.Context(), []*statusv1.Event{event(1)})
		return err
	})
	signalled(t, heard, "after it came back")
}

// TestReplicasShareOneLog has two stores append at once: numbers have no gap and a reader misses none, whatever isolation the
// server defaults to.
func TestReplicasShareOneLog(t *testing.T) {
	t.Parallel()
	for _, isolation := range []string{"read committed", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			cfg := store.Config{Postgres: postgrestest.Database(t)}
			postgrestest.Execute(t, cfg.Postgres.Database,
				fmt.Sprintf("ALTER DATABASE %s SET default_transaction_isolation = '%s'", cfg.Postgres.Database, isolation))
			shareOneLog(t, cfg)
		})
	}
}

func shareOneLog(t *testing.T, cfg store.Config) {
	t.Helper()
	stores := []*store.Store{mustOpen(t, cfg), mustOpen(t, cfg), mustOpen(t, cfg)}
	const batches, size = 15, 4
	var wg sync.WaitGroup
	for w, s := range stores[:2] {
		wg.Go(func() {
			for b := range batches {
				// Each event comes through both.
				if _, err := s.AppendEvents(t.Context(), events((b+w)%batches*size, size)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	reader := stores[2]
	seen := int64(0)
	eventually(t, func() error {
		records, upTo, err := reader.EventsSince(t.Context(), seen, store.EventFilter{}, 7)
		if err != nil {
			return err
		}
		for i, r := range records {
			if r.Seq != seen+int64(i)+1 {
				t.Fatalf("event %d follows on %d", r.Seq, seen+int64(i))
			}
		}
		if seen = upTo; seen < batches*size {
			return fmt.Errorf("%d events", seen)
		}
		return nil
	})
	wg.Wait()
	if seq, err := reader.LastSeq(t.Context()); err != nil || seq != batches*size {
		t.Errorf("LastSeq() = %d, %v; want %d", seq, err, batches*size)
	}
}

// TestServerIsKilledAmongAppends has a server stopped and killed while two stores append: what was acknowledged stays, and
// both go on by themselves.
func TestServerIsKilledAmongAppends(t *testing.T) {
	t.Parallel()
	server, err := postgrestest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg := store.Config{Postgres: server.DatabaseOnce(t)}
	stores := []*store.Store{mustOpen(t, cfg), mustOpen(t, cfg)}
	heard, cancel := stores[0].Subscribe(store.Events)
	defer cancel()
	running(t, stores[0], func(error) {})
	crowd := newAppenders(t, stores)
	for round, end := range []func() error{server.Stop, server.Kill, server.Kill} {
		crowd.await(20)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := server.Resume(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	crowd.await(20)
	acknowledged := crowd.stop()
	have := map[string]int{}
	last, err := stores[1].LastSeq(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for after := int64(0); after < last; {
		records, upTo, err := stores[1].EventsSince(t.Context(), after, store.EventFilter{}, store.MaxPageSize)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range records {
			if r.Seq != after+int64(i)+1 {
				t.Fatalf("event %d follows on %d", r.Seq, after+int64(i))
			}
			have[r.Event.GetMessage()]++
		}
		after = upTo
	}
	for _, n := range acknowledged {
		if message := fmt.Sprintf("event %d", n); have[message] != 1 {
			t.Errorf("%s was acknowledged and is there %d times", message, have[message])
		}
	}
	for range len(heard) {
		<-heard
	}
	eventually(t, func() error { // the one that listens is back too
		mustAppend(t, stores[1], event(int(time.Now().UnixNano())))
		select {
		case <-heard:
			return nil
		case <-time.After(100 * time.Millisecond):
			return errors.New("the listener did not come back")
		}
	})
}

// appenders append through each store, one event after the other, and repeat what was refused, as synchronizers do.
type appenders struct {
	t    *testing.T
	end  context.CancelFunc
	wg   sync.WaitGroup
	mu   sync.Mutex
	done []int
}

func newAppenders(t *testing.T, stores []*store.Store) *appenders {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	a := &appenders{t: t, end: cancel}
	for i, s := range stores {
		a.wg.Go(func() {
			for n := i; ctx.Err() == nil; {
				if _, err := s.AppendEvents(ctx, []*statusv1.Event{event(n)}); err != nil {
					continue
				}
				a.mu.Lock()
				a.done = append(a.done, n)
				a.mu.Unlock()
				n += len(stores)
			}
		})
	}
	t.Cleanup(cancel)
	return a
}

func (a *appenders) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.done)
}

// await waits until so many more were acknowledged.
func (a *appenders) await(more int) {
	a.t.Helper()
	want := a.count() + more
	eventually(a.t, func() error {
		if n := a.count(); n < want {
			return fmt.Errorf("%d events are acknowledged, want %d", n, want)
		}
		return nil
	})
}

// stop returns what was acknowledged.
func (a *appenders) stop() []int {
	a.end()
	a.wg.Wait()
	return a.done
}
