package inventory

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

func some(n int) map[object.Key]Entry {
	entries := map[object.Key]Entry{}
	for i := range n {
		key := object.Key{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: fmt.Sprintf("web-%d", i)}
		entries[key] = Entry{Key: key, UID: types.UID(fmt.Sprint(i)), File: "a.yaml", Desired: [32]byte{byte(i)}, Baseline: [32]byte{1, byte(i)}}
	}
	return entries
}

func joined(t interface{ Fatal(...any) }, shards [][]byte) map[object.Key]Entry {
	all := map[object.Key]Entry{}
	for _, shard := range shards {
		part, err := Decode(shard)
		if err != nil {
			t.Fatal(err)
		}
		if len(part) > MaxShard {
			t.Fatal("a shard is too large:", len(part))
		}
		for _, e := range part {
			all[e.Key] = e
		}
	}
	return all
}

func TestSplitLosesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := some(rapid.IntRange(0, 700).Draw(t, "entries"))
		shards, err := Split(want)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, joined(t, shards)); diff != "" {
			t.Fatalf("Decode(Split(...)): -want, +got:\n%s", diff)
		}
	})
}

func TestOneChangeRewritesOneShard(t *testing.T) {
	t.Parallel()
	entries := some(5000)
	before, err := Split(entries)
	if err != nil {
		t.Fatal(err)
	}
	for key, e := range entries {
		e.Baseline = [32]byte{99}
		entries[key] = e
		break
	}
	after, err := Split(entries)
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for i := range after {
		if string(after[i]) != string(before[i]) {
			changed++
		}
	}
	if changed != 1 || len(after) != len(before) {
		t.Errorf("one change rewrote %d of %d shards", changed, len(after))
	}
}

func FuzzDecode(f *testing.F) {
	good, err := Split(some(3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[0])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, shard []byte) {
		entries, err := Decode(shard)
		if err != nil {
			return
		}
		again, err := encode(entries)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(again); err != nil {
			t.Errorf("Decode(encode(Decode(x))): %v", err)
		}
	})
}
