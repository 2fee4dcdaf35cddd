package report

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
)

// MaxSpooled bounds the events that wait for their acknowledgement. When the automator is gone for so long that more
// happen, the oldest are given up.
const MaxSpooled = 10_000

// spool keeps events on disk until they are acknowledged: one file each, so that a kill at any moment loses nothing
// that was added and an acknowledgement is one removal.
type spool struct {
	dir    string
	mu     sync.Mutex
	next   int64
	events []spooled       // oldest first
	ids    map[string]bool // of events
	wake   chan struct{}
}

type spooled struct {
	number int64
	event  *statusv1.Event
}

// openSpool reads what a former process left. Files that do not parse were never completely written and are removed.
func openSpool(dir string) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open event spool: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open event spool: %w", err)
	}
	s := &spool{dir: dir, ids: map[string]bool{}, wake: make(chan struct{}, 1)}
	for _, entry := range entries {
		s.load(entry.Name())
	}
	slices.SortFunc(s.events, func(a, b spooled) int { return cmp.Compare(a.number, b.number) })
	return s, nil
}

func (s *spool) load(name string) {
	path := filepath.Join(s.dir, name)
	number, err := strconv.ParseInt(strings.TrimSuffix(name, ".event"), 10, 64)
	raw, readErr := os.ReadFile(path)
	event := &statusv1.Event{}
	if err != nil || readErr != nil || !strings.HasSuffix(name, ".event") || proto.Unmarshal(raw, event) != nil {
		_ = os.Remove(path)
		return
	}
	s.events = append(s.events, spooled{number: number, event: event})
	s.ids[string(event.GetId())] = true
	s.next = max(s.next, number+1)
}

func (s *spool) path(number int64) string {
	return filepath.Join(s.dir, strconv.FormatInt(number, 10)+".event")
}

// add keeps an event; one whose id waits already is ignored. It returns how many old ones were given up.
func (s *spool) add(event *statusv1.Event) (dropped int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids[string(event.GetId())] {
		return 0, nil
	}
	raw, err := proto.Marshal(event)
	if err != nil {
		return 0, err
	}
	number := s.next
	s.next++
	s.events = append(s.events, spooled{number: number, event: event})
	s.ids[string(event.GetId())] = true
	for len(s.events) > MaxSpooled {
		delete(s.ids, string(s.events[0].event.GetId()))
		_ = os.Remove(s.path(s.events[0].number))
		s.events = s.events[1:]
		dropped++
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	tmp := s.path(number) + ".tmp"
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return dropped, err
	}
	return dropped, os.Rename(tmp, s.path(number))
}

// after returns up to limit events that come after a number.
func (s *spool) after(number int64, limit int) []spooled {
	s.mu.Lock()
	defer s.mu.Unlock()
	start, _ := slices.BinarySearchFunc(s.events, number+1, func(e spooled, n int64) int { return cmp.Compare(e.number, n) })
	return slices.Clone(s.events[start:min(start+limit, len(s.events))])
}

// acknowledge forgets events by id and returns how many there were.
func (s *spool) acknowledge(ids [][]byte) (count int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	acked := make(map[string]bool, len(ids))
	for _, id := range ids {
		acked[string(id)] = true
	}
	s.events = slices.DeleteFunc(s.events, func(e spooled) bool {
		if !acked[string(e.event.GetId())] {
			return false
		}
		count++
		delete(s.ids, string(e.event.GetId()))
		if rmErr := os.Remove(s.path(e.number)); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = rmErr
		}
		return true
	})
	return count, err
}
