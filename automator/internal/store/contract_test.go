package store_test

import (
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tandem-cd/tandem/automator/internal/store"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/config"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/instant"
)

// TestContract is what every engine promises.
func TestContract(t *testing.T) {
	t.Parallel()
	promises := map[string]func(*testing.T, func(store.Retention) *store.Store){
		"AppendTwice":        appendTwice,
		"AppendRefuses":      appendRefuses,
		"AppendConcurrently": appendConcurrently,
		"ListFilters":        listFilters,
		"ListPages":          listPages,
		"ListTokens":         listTokens,
		"Since":              since,
		"Subscribe":          subscribe,
		"Reopen":             reopen,
		"PruneByCount":       pruneByCount,
		"PruneByAge":         pruneByAge,
		"Tags":               tags,
		"PruneTags":          pruneTags,
		"Verifications":      verifications,
		"Signatures":         signatures,
		"UsedSignatures":     usedSignatures,
		"ForeignText":        foreignText,
		"Identities":         identities,
		"RedeemOnce":         redeemOnce,
		"Revoke":             revoke,
		"RevokeAhead":        revokeAhead,
		"ReplaceVoids":       replaceVoids,
		"RevokeUnderWay":     revokeUnderWay,
	}
	for engineName, engine := range engines {
		for name, promise := range promises {
			t.Run(engineName+"/"+name, func(t *testing.T) {
				t.Parallel()
				promise(t, engine(t))
			})
		}
	}
}

func mustAppend(t testing.TB, s *store.Store, events ...*statusv1.Event) []*statusv1.Event {
	t.Helper()
	fresh, err := s.AppendEvents(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	return fresh
}

func mustList(t testing.TB, s *store.Store, filter store.EventFilter, page store.Page) ([]*statusv1.Event, string) {
	t.Helper()
	events, next, err := s.ListEvents(t.Context(), filter, page)
	if err != nil {
		t.Fatal(err)
	}
	return events, next
}

func appendTwice(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	first := event(1, about(7), image("sha256:a", "sha256:a", "sha256:b", ""))
	fresh := mustAppend(t, s, first, event(2), event(2, func(e *statusv1.Event) { e.Message = "again" }))
	if diff := cmp.Diff([]string{"event 1", "event 2"}, messages(fresh)); diff != "" {
		t.Errorf("fresh in a batch with a repetition: -want, +got:\n%s", diff)
	}
	fresh = mustAppend(t, s, event(1, func(e *statusv1.Event) { e.Message = "forged" }), event(3))
	if diff := cmp.Diff([]string{"event 3"}, messages(fresh)); diff != "" {
		t.Errorf("fresh after a repetition: -want, +got:\n%s", diff)
	}
	events, _ := mustList(t, s, store.EventFilter{}, store.Page{})
	if diff := cmp.Diff([]string{"event 3", "event 2", "event 1"}, messages(events)); diff != "" {
		t.Errorf("ListEvents(...): -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(first, events[2], protocmp.Transform()); diff != "" {
		t.Errorf("the first event: -want, +got:\n%s", diff)
	}
	if seq, err := s.LastSeq(t.Context()); err != nil || seq != 3 {
		t.Errorf("LastSeq() = %d, %v; want 3: repetitions take no number", seq, err)
	}
}

func appendRefuses(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	bad := map[string]*statusv1.Event{
		"NoID":    event(1, func(e *statusv1.Event) { e.Id = nil }),
		"LongID":  event(1, func(e *statusv1.Event) { e.Id = append(e.Id, 0) }),
		"NoTime":  event(1, func(e *statusv1.Event) { e.Time = nil }),
		"BadTime": event(1, func(e *statusv1.Event) { e.Time = &timestamppb.Timestamp{Seconds: 1 << 60} }),
		"BadText": event(1, func(e *statusv1.Event) { e.Message = "\xff" }),
		"LongKey": event(1, func(e *statusv1.Event) { e.SyncName = strings.Repeat("x", store.MaxKeyBytes+1) }),
		"ZeroKey": event(1, image("sha256:\x00")),
		"TooLong": event(1, func(e *statusv1.Event) { e.Message = strings.Repeat("x", store.MaxEventBytes) }),
	}
	for name, e := range bad {
		if _, err := s.AppendEvents(t.Context(), []*statusv1.Event{event(0), e}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	mustAppend(t, open(store.Retention{}), event(2, func(e *statusv1.Event) {
		e.Cluster, e.SyncNamespace, e.SyncName, e.SyncUid = longest(), longest(), longest(), longest()
	}, image(longest()), about(1)))
	if events, _ := mustList(t, s, store.EventFilter{}, store.Page{}); len(events) != 1 {
		t.Errorf("a batch that was refused left %v", messages(events))
	}
}

// longest returns a text that is as long as a key may be, random so that no engine makes it shorter.
func longest() string {
	var text strings.Builder
	for text.Len() < store.MaxKeyBytes {
		text.WriteString(rand.Text())
	}
	return text.String()[:store.MaxKeyBytes]
}

func appendConcurrently(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	const writers, batches, size = 4, 10, 5
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for b := range batches {
				var events []*statusv1.Event
				for i := range size {
					// Neighbours overlap: half of the events come from two writers.
					events = append(events, event((w*batches+b)*size/2+i))
				}
				if _, err := s.AppendEvents(t.Context(), events); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() { // a reader never sees a gap
		var after int64
		for range 200 {
			records, upTo, err := s.EventsSince(t.Context(), after, store.EventFilter{}, 7)
			if err != nil {
				t.Error(err)
				return
			}
			for i, r := range records {
				if r.Seq != after+int64(i)+1 {
					t.Errorf("event %d follows on %d", r.Seq, after+int64(i))
				}
			}
			after = upTo
		}
	})
	wg.Wait()
	seq, err := s.LastSeq(t.Context())
	events, _ := mustList(t, s, store.EventFilter{}, store.Page{Size: store.MaxPageSize})
	if err != nil || int(seq) != len(events) || len(events) != (writers*batches-1)*size/2+size {
		t.Errorf("%d events with the last number %d, %v", len(events), seq, err)
	}
}

func listFilters(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	sync := func(e *statusv1.Event) { e.SyncNamespace, e.SyncName, e.SyncUid = "shop", "web", "uid-1" }
	mustAppend(t, s,
		event(0, in(""), state(statusv1.EventState_EVENT_STATE_DETECTED), image("sha256:a")),
		event(1, in(""), state(statusv1.EventState_EVENT_STATE_COMMITTED), about(1)),
		event(2, in(""), state(statusv1.EventState_EVENT_STATE_COMMITTED), about(2)),
		event(3, sync, about(1)),
		event(4, sync, state(statusv1.EventState_EVENT_STATE_HEALTHY), about(1), image("sha256:a")),
		event(5, in("stage"), about(2)),
		event(6, in("stage"), func(e *statusv1.Event) { e.SyncNamespace, e.SyncName = "shop", "api" }),
	)
	tests := map[string]struct {
		filter store.EventFilter
		want   []string
	}{
		"Nothing":     {store.EventFilter{}, []string{"6", "5", "4", "3", "2", "1", "0"}},
		"Cluster":     {store.EventFilter{Cluster: "prod"}, []string{"4", "3", "1", "0"}},
		"Other":       {store.EventFilter{Cluster: "stage"}, []string{"6", "5", "2"}},
		"Unknown":     {store.EventFilter{Cluster: "nowhere"}, nil},
		"Namespace":   {store.EventFilter{SyncNamespace: "shop"}, []string{"6", "4", "3"}},
		"Sync":        {store.EventFilter{SyncNamespace: "shop", SyncName: "web"}, []string{"4", "3"}},
		"UID":         {store.EventFilter{SyncUID: "uid-1"}, []string{"4", "3"}},
		"Commit":      {store.EventFilter{Commit: strings.Repeat("02", 20)}, []string{"5", "2"}},
		"Content":     {store.EventFilter{ContentID: strings.Repeat("01", 32)}, []string{"4", "3", "1"}},
		"Digest":      {store.EventFilter{Digest: "sha256:a"}, []string{"4", "0"}},
		"States":      {store.EventFilter{States: []statusv1.EventState{statusv1.EventState_EVENT_STATE_HEALTHY, statusv1.EventState_EVENT_STATE_DETECTED}}, []string{"4", "0"}},
		"Since":       {store.EventFilter{Since: epoch.Add(5 * time.Second)}, []string{"6", "5"}},
		"Combination": {store.EventFilter{Cluster: "prod", Commit: strings.Repeat("01", 20), Since: epoch.Add(2 * time.Second)}, []string{"4", "3"}},
	}
	for name, tc := range tests {
		var want []string
		for _, n := range tc.want {
			want = append(want, "event "+n)
		}
		for _, size := range []int{1, 2, 100} {
			var got []string
			for token := ""; ; {
				events, next := mustList(t, s, tc.filter, store.Page{Size: size, Token: token})
				got = append(got, messages(events)...)
				if token = next; token == "" {
					break
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s in pages of %d: -want, +got:\n%s", name, size, diff)
			}
		}
		records, _, err := s.EventsSince(t.Context(), 0, tc.filter, 100)
		if err != nil || len(records) != len(want) {
			t.Errorf("%s: EventsSince found %d events, %v; ListEvents %d", name, len(records), err, len(want))
		}
	}
}

func listPages(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	for n := range 10 {
		mustAppend(t, s, event(n/2*2, func(e *statusv1.Event) { e.Id[0] ^= byte(n % 2) })) // two at a time
	}
	first, next := mustList(t, s, store.EventFilter{}, store.Page{Size: 3})
	mustAppend(t, s, event(100), event(5)) // one before the first page, one amid what is to come
	rest, end := mustList(t, s, store.EventFilter{}, store.Page{Token: next})
	want := []string{"event 8", "event 8", "event 6", "event 6", "event 5", "event 4", "event 4", "event 2", "event 2", "event 0", "event 0"}
	if diff := cmp.Diff(want, append(messages(first), messages(rest)...)); diff != "" || end != "" {
		t.Errorf("pages: next %q, -want, +got:\n%s", end, diff)
	}
}

func listTokens(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	mustAppend(t, s, event(1), event(2))
	_, token := mustList(t, s, store.EventFilter{Cluster: "prod"}, store.Page{Size: 1})
	bad := map[string]struct {
		filter store.EventFilter
		page   store.Page
	}{
		"OtherFilter": {store.EventFilter{Cluster: "stage"}, store.Page{Token: token}},
		"Garbage":     {store.EventFilter{Cluster: "prod"}, store.Page{Token: "garbage"}},
		"Cut":         {store.EventFilter{Cluster: "prod"}, store.Page{Token: token[:8]}},
		"Negative":    {store.EventFilter{}, store.Page{Size: -1}},
	}
	for name, tc := range bad {
		if _, _, err := s.ListEvents(t.Context(), tc.filter, tc.page); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func since(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	mustAppend(t, s, event(3), event(1), event(2, in("stage")), event(0))
	var got []string
	var after int64
	for range 4 {
		records, upTo, err := s.EventsSince(t.Context(), after, store.EventFilter{Cluster: "prod"}, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			got = append(got, fmt.Sprintf("%d %s", r.Seq, r.Event.GetMessage()))
		}
		after = upTo
	}
	if diff := cmp.Diff([]string{"1 event 3", "2 event 1", "4 event 0"}, got); diff != "" || after != 4 {
		t.Errorf("EventsSince(...) up to %d: -want, +got:\n%s", after, diff)
	}
}

func subscribe(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	slow, cancelSlow := s.Subscribe(store.Events)
	defer cancelSlow()
	gone, cancel := s.Subscribe(store.Events)
	cancel()
	for n := range 5 { // nobody reads, and appending does not wait
		mustAppend(t, s, event(n))
	}
	select {
	case <-slow:
	default:
		t.Error("no signal after events were appended")
	}
	select {
	case <-slow:
		t.Error("signals should not pile up")
	case <-gone:
		t.Error("a signal after cancel")
	default:
	}
	mustAppend(t, s, event(0))
	select {
	case <-slow:
		t.Error("a signal although nothing was added")
	default:
	}
}

func reopen(t *testing.T, open func(store.Retention) *store.Store) {
	first := open(store.Retention{})
	mustAppend(t, first, event(1))
	second := open(store.Retention{})
	mustAppend(t, second, event(1), event(2))
	if events, _ := mustList(t, second, store.EventFilter{}, store.Page{}); len(events) != 2 {
		t.Errorf("after opening again: %v", messages(events))
	}
}

func pruneByCount(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{EventCount: 20})
	var events []*statusv1.Event
	for n := range 2520 { // more than two batches
		events = append(events, event(n, image("sha256:a")))
	}
	mustAppend(t, s, events...)
	if n, err := s.Prune(t.Context()); err != nil || n != 2500 {
		t.Fatalf("Prune() = %d, %v; want 2500", n, err)
	}
	left, _ := mustList(t, s, store.EventFilter{Digest: "sha256:a"}, store.Page{})
	if len(left) != 20 || left[19].GetMessage() != "event 2500" {
		t.Errorf("left: %v", messages(left))
	}
	if n, err := s.Prune(t.Context()); err != nil || n != 0 {
		t.Errorf("Prune() again = %d, %v; want 0", n, err)
	}
	mustAppend(t, s, event(9999))
	if seq, _ := s.LastSeq(t.Context()); seq != 2521 {
		t.Errorf("LastSeq() = %d, want 2521: numbers are not used again", seq)
	}
}

func pruneByAge(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	// Times that an agent makes up neither save an event nor remove it.
	mustAppend(t, s,
		event(1, func(e *statusv1.Event) { e.Time = timestamppb.New(epoch.AddDate(5000, 0, 0)) }),
		event(2, func(e *statusv1.Event) { e.Time = timestamppb.New(epoch.AddDate(-500, 0, 0)) }))
	if n, err := s.Prune(t.Context()); err != nil || n != 0 {
		t.Errorf("Prune() of young events = %d, %v; want 0", n, err)
	}
	impatient := open(store.Retention{EventAge: config.Duration(time.Nanosecond)})
	<-time.After(time.Millisecond)
	if n, err := impatient.Prune(t.Context()); err != nil || n != 2 {
		t.Errorf("Prune() of old events = %d, %v; want 2", n, err)
	}
}

func tags(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	const repository = "ghcr.io/acme/api"
	if scan, got, err := s.Tags(t.Context(), repository); err != nil || len(got) != 0 || !scan.LastAttempt.IsZero() {
		t.Errorf("Tags() of nothing = %v, %v, %v", scan, got, err)
	}
	at := epoch.Add(time.Microsecond)
	scan := store.Scan{LastAttempt: at, LastComplete: at}
	seen := instant.MicrosOf(at)
	first := []store.Tag{{Name: "1.0.0", Digest: "sha256:a", FirstSeen: seen}, {
		Name: "1.1.0", FirstSeen: seen, Moved: seen + 1, Inspected: "sha256:b", Created: seen - 1, Platforms: "linux/amd64 linux/arm64",
	}}
	if err := s.PutTags(t.Context(), repository, scan, first); err != nil {
		t.Fatal(err)
	}
	if err := s.PutTags(t.Context(), "ghcr.io/acme/other", scan, first[:1]); err != nil {
		t.Fatal(err)
	}
	scan = store.Scan{LastAttempt: at.Add(time.Hour), LastComplete: at, LastError: "no answer"}
	gone := store.Tag{Name: "1.0.0", Digest: "sha256:a", FirstSeen: seen, LastSeen: seen + 2}
	if err := s.PutTags(t.Context(), repository, scan, []store.Tag{gone}); err != nil {
		t.Fatal(err)
	}
	later := store.Scan{LastAttempt: at.Add(2 * time.Hour), LastComplete: at.Add(2 * time.Hour)}
	if err := s.PutScans(t.Context(), map[string]store.Scan{repository: {LastAttempt: at}, "ghcr.io/acme/other": later, "ghcr.io/acme/new": later}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ghcr.io/acme/other", "ghcr.io/acme/new"} {
		if got, _, err := s.Tags(t.Context(), name); err != nil || got != later {
			t.Errorf("scan of %s = %+v, %v; want %+v", name, got, err, later)
		}
	}
	gotScan, got, err := s.Tags(t.Context(), repository)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(scan, gotScan); diff != "" {
		t.Errorf("scan: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff([]store.Tag{gone, first[1]}, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("tags: -want, +got:\n%s", diff)
	}
}

func pruneTags(t *testing.T, open func(store.Retention) *store.Store) {
	s := open(store.Retention{})
	now := time.Now()
	year := now.AddDate(-1, 0, 0)
	seen, long := instant.MicrosOf(now), instant.MicrosOf(year)
	put := func(repository string, attempt time.Time, tags ...store.Tag) {
		if err := s.PutTags(t.Context(), repository, store.Scan{LastAttempt: attempt}, tags); err != nil {
			t.Fatal(err)
		}
	}
	put("followed", now, store.Tag{Name: "listed", FirstSeen: long}, store.Tag{Name: "gone", FirstSeen: long, LastSeen: seen}, store.Tag{Name: "forgotten", FirstSeen: long, LastSeen: long})
	put("abandoned", year, store.Tag{Name: "listed", FirstSeen: long})
	if _, err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	for repository, want := range map[string][]string{"followed": {"gone", "listed"}, "abandoned": nil} {
		_, tags, err := s.Tags(t.Context(), repository)
		var got []string
		for _, tag := range tags {
			got = append(got, tag.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v, -want, +got:\n%s", repository, err, diff)
		}
	}
}
