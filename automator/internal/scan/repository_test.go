package scan

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestKnownTagsOnlyGrow runs any sequence of lists and confirmations and checks what must hold whatever a registry says.
func TestKnownTagsOnlyGrow(t *testing.T) {
	t.Parallel()
	name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
	rapid.Check(t, func(t *rapid.T) {
		r := newRepository("one.test/acme/api")
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		confirmed := map[string]time.Time{}
		cached := map[string]bool{} // by what the dirty marks promise
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Minute)
			before := r.sorted()
			if rapid.Bool().Draw(t, "confirm") {
				tag := name.Draw(t, "tag")
				r.confirm(tag, "sha256:"+name.Draw(t, "digest"), now)
				confirmed[tag] = now
			} else {
				tags := rapid.SliceOfDistinct(name, func(s string) string { return s }).Draw(t, "tags")
				complete := rapid.Bool().Draw(t, "complete")
				began := now.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "age")) * time.Minute)
				r.merge(tags, complete, began, now)
				r.record(complete, nil, now)
				listed := map[string]bool{}
				for _, tag := range tags {
					listed[tag] = true
				}
				for _, tag := range r.sorted() {
					switch gone := tag.LastSeen != 0; {
					case listed[tag.Name] && gone:
						t.Fatalf("%s is listed and counts as vanished", tag.Name)
					case gone && tag.LastSeen < tag.FirstSeen:
						t.Fatalf("%s was seen last before it was seen first", tag.Name)
					case complete && !listed[tag.Name] && !gone && confirmed[tag.Name].Before(began):
						t.Fatalf("%s is not in a complete list and counts as listed", tag.Name)
					case !complete && gone:
						for _, old := range before {
							if old.Name == tag.Name && old.LastSeen == 0 {
								t.Fatalf("%s vanished by a list that is not complete", tag.Name)
							}
						}
					}
				}
			}
			after := map[string]bool{}
			for _, tag := range r.sorted() {
				after[tag.Name] = true
			}
			for _, tag := range before {
				if !after[tag.Name] {
					t.Fatalf("%s was forgotten", tag.Name)
				}
			}
			for _, tag := range r.takeDirty() {
				cached[tag.Name] = true
			}
			for name := range after {
				if !cached[name] {
					t.Fatalf("%s never got to the cache", name)
				}
			}
		}
	})
}
