// Package inventory records what a Sync owns, so that a restart is free and a prune is safe.
//
// Ownership itself is read from the live objects. The records add what the objects do not say: the file an object came
// from, the hash of what was applied, and the digest of what our own apply left. Losing a record costs one apply that
// changes nothing, never a wrong prune.
//
// Pure. Records are kept in shards of at most MaxShard records each. A
// record stays in its shard while the number of shards stays, so one changed object rewrites one shard.
package inventory

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

const (
	// MaxShard bounds the records of one shard.
	MaxShard = 256
	// fill is how full shards are on average when their number is chosen.
	fill = 128
	// MaxShards bounds the shards of an inventory; it is far above render's limit of objects.
	MaxShards = 1 << 12
	// MaxInline bounds an encoded inventory that is kept in the Sync's status instead of in a shard, in bytes: some twenty
	// records. It makes the status of a small Sync longer by half, and saves the request that a shard of its own costs.
	MaxInline = 3 << 10
	// maxInflated bounds a shard after decompression, in bytes.
	maxInflated = 4 << 20
)

// Kept says where an inventory is: in shards or, a small one, in the Sync's status.
type Kept struct {
	// Shards is how many shards there are.
	Shards int
	// Inline is the only shard of a small inventory; Shards is 0 then.
	Inline []byte
}

// Entry is what is recorded of one object.
type Entry struct {
	Key object.Key
	UID types.UID
	// File is where it is written in Git.
	File string
	// Desired is the hash of what was applied.
	Desired [32]byte
	// Baseline is the digest of what our apply left: the path set of our manager and the values there.
	Baseline [32]byte
}

// Foreign reports whether the object was somebody else's when it was to be made once, and so was left alone.
func (e Entry) Foreign() bool { return e.Baseline == [32]byte{} }

// record is an Entry as it is stored.
type record struct {
	ID       string    `json:"id"`
	UID      types.UID `json:"uid"`
	File     string    `json:"file"`
	Desired  []byte    `json:"desired"`
	Baseline []byte    `json:"baseline"`
}

// shardCount returns how many shards hold n records: a power of two, so that growing moves as few records as possible.
func shardCount(entries map[object.Key]Entry) int {
	count := 1
	for count*fill < len(entries) {
		count *= 2
	}
	for !fits(entries, count) {
		count *= 2
	}
	return count
}

func fits(entries map[object.Key]Entry, count int) bool {
	if len(entries) <= MaxShard || count >= MaxShards {
		return true
	}
	sizes := make([]int, count)
	for key := range entries {
		at := shardOf(key, count)
		if sizes[at]++; sizes[at] > MaxShard {
			return false
		}
	}
	return true
}

// shardOf is the key's ID by FNV-1a, put together as it is hashed.
func shardOf(key object.Key, count int) int {
	hash := fnvAdd(fnvOffset, key.Kind)
	if key.Group != "" {
		hash = fnvAdd(fnvAdd(hash, "."), key.Group)
	}
	if key.Namespace != "" {
		hash = fnvAdd(fnvAdd(hash, "/"), key.Namespace)
	}
	return int(fnvAdd(fnvAdd(hash, "/"), key.Name) % uint64(count))
}

// The constants of FNV-1a with 64 bits.
const fnvOffset, fnvPrime uint64 = 14695981039346656037, 1099511628211

func fnvAdd(hash uint64, text string) uint64 {
	for i := range len(text) {
		hash = (hash ^ uint64(text[i])) * fnvPrime
	}
	return hash
}

// seed makes fingerprints of this process unlike those of any other.
var seed = maphash.MakeSeed() //nolint:gochecknoglobals // made once, never changed

// Prints returns a fingerprint of each shard of entries. Shards that differ have, as good as certainly, other fingerprints;
// they mean nothing to another process.
func Prints(entries map[object.Key]Entry) []uint64 {
	prints := make([]uint64, shardCount(entries))
	for key, entry := range entries {
		prints[shardOf(key, len(prints))] += maphash.Comparable(seed, entry)
	}
	return prints
}

// Split returns those of the shards of entries, encoded, that are wanted, by number; count is how many shards there are.
func Split(entries map[object.Key]Entry, count int, wanted func(number int) bool) (map[int][]byte, error) {
	parts := map[int][]Entry{}
	for number := range count {
		if wanted(number) {
			parts[number] = nil
		}
	}
	for key, entry := range entries {
		number := shardOf(key, count)
		if part, wanted := parts[number]; wanted {
			parts[number] = append(part, entry)
		}
	}
	shards := make(map[int][]byte, len(parts))
	for number, part := range parts {
		encoded, err := encode(part)
		if err != nil {
			return nil, err
		}
		shards[number] = encoded
	}
	return shards, nil
}

// writers are for encode: a new one is larger than most inventories by far.
var writers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }} //nolint:gochecknoglobals // holds nothing of those who used it

// encode returns the same bytes for the same entries.
func encode(entries []Entry) ([]byte, error) {
	slices.SortFunc(entries, func(a, b Entry) int { return a.Key.Compare(b.Key) })
	records := make([]record, 0, len(entries))
	for _, e := range entries {
		records = append(records, record{ID: e.Key.ID(), UID: e.UID, File: e.File, Desired: e.Desired[:], Baseline: e.Baseline[:]})
	}
	var out bytes.Buffer
	zip, _ := writers.Get().(*gzip.Writer)
	zip.Reset(&out)
	defer func() {
		zip.Reset(nil)
		writers.Put(zip)
	}()
	if err := errors.Join(json.NewEncoder(zip).Encode(records), zip.Close()); err != nil {
		return nil, fmt.Errorf("encode inventory: %w", err)
	}
	return out.Bytes(), nil
}

// Decode reads what encode wrote. Anything else is an error, never a part.
func Decode(shard []byte) ([]Entry, error) {
	zip, err := gzip.NewReader(bytes.NewReader(shard))
	if err != nil {
		return nil, fmt.Errorf("decode inventory: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(zip, maxInflated+1))
	if err != nil {
		return nil, fmt.Errorf("decode inventory: %w", err)
	}
	if len(raw) > maxInflated {
		return nil, fmt.Errorf("decode inventory: a shard inflates to more than %d bytes", maxInflated)
	}
	var records []record
	if err := json.Unmarshal(raw, &records); err != nil {
		return nil, fmt.Errorf("decode inventory: %w", err)
	}
	entries := make([]Entry, 0, len(records))
	for _, r := range records {
		entry, err := r.entry()
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

func (r record) entry() (Entry, error) {
	key, err := object.ParseID(r.ID)
	if err != nil {
		return Entry{}, fmt.Errorf("decode inventory: %w", err)
	}
	e := Entry{Key: key, UID: r.UID, File: r.File}
	if copy(e.Desired[:], r.Desired) != len(e.Desired) || copy(e.Baseline[:], r.Baseline) != len(e.Baseline) {
		return Entry{}, fmt.Errorf("decode inventory: record of %s has a hash of the wrong length", r.ID)
	}
	return e, nil
}
