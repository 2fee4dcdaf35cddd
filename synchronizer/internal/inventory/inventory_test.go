package inventory

import (
	"fmt"
	"hash/fnv"
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

// all splits entries into every shard.
func all(t interface{ Fatal(...any) }, entries map[object.Key]Entry) map[int][]byte {
	shards, err := Split(entries, len(Prints(entries)), func(int) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	return shards
}

func joined(t interface{ Fatal(...any) }, shards map[int][]byte) map[object.Key]Entry {
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
		if diff := cmp.Diff(want, joined(t, all(t, want))); diff != "" {
			t.Fatalf("Decode(Split(...)): -want, +got:\n%s", diff)
		}
	})
}

func TestOneChangeRewritesOneShard(t *testing.T) {
	t.Parallel()
	entries := some(5000)
	before, prints := all(t, entries), Prints(entries)
	for key, e := range entries {
		e.Baseline = [32]byte{99}
		entries[key] = e
		break
	}
	after, now := all(t, entries), Prints(entries)
	changed := 0
	for i := range after {
		differs := string(after[i]) != string(before[i])
		if differs {
			changed++
		}
		if differs != (now[i] != prints[i]) {
			t.Errorf("shard %d differs: %v, its fingerprint: %v", i, differs, !differs)
		}
	}
	if changed != 1 || len(after) != len(before) {
		t.Errorf("one change rewrote %d of %d shards", changed, len(after))
	}
}

func TestSplitEncodesOnlyWhatIsWanted(t *testing.T) {
	t.Parallel()
	entries := some(5000)
	whole := all(t, entries)
	part, err := Split(entries, len(whole), func(number int) bool { return number == 7 })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int][]byte{7: whole[7]}, part); diff != "" {
		t.Errorf("Split(shard 7): -want, +got:\n%s", diff)
	}
}

// Records stay where a former version put them.
func TestAShardIsTheHashOfTheID(t *testing.T) {
	t.Parallel()
	for _, key := range []object.Key{
		{Kind: "Namespace", Name: "shop"},
		{Kind: "ConfigMap", Namespace: "shop", Name: "a"},
		{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"},
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "x"},
	} {
		hash := fnv.New64a()
		_, _ = hash.Write([]byte(key.ID())) // never fails
		if got, want := shardOf(key, MaxShards), int(hash.Sum64()%MaxShards); got != want {
			t.Errorf("shardOf(%s): got %d, want %d", key, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(all(f, some(3))[0])
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

// BenchmarkSave shows what is spared when one record of many has changed.
func BenchmarkSave(b *testing.B) {
	entries := some(5000)
	for name, wanted := range map[string]func(int) bool{"AllShards": func(int) bool { return true }, "OneShard": func(i int) bool { return i == 7 }} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Split(entries, len(Prints(entries)), wanted); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
