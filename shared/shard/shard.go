// Package shard divides the Syncs of a cluster among the replicas of its synchronizer.
//
// Both agents have to agree on who works for a Sync: the synchronizer by who writes, the automator by whose report may say
// that a Sync is gone and who is asked about it.
package shard

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/tandem-cd/tandem/shared/fault"
)

// Max bounds the shards of a cluster.
const Max = 16

// Shard is one part of the Syncs of a cluster. The zero value is all of them.
type Shard struct {
	// Index is from 0 to Count-1.
	Index int
	// Count is how many there are; 0 and 1 are one.
	Count int
}

// New returns a shard by the numbers that the protocol has for it; Invalid for such that name none.
func New(index, count int32) (Shard, error) {
	if count < 0 || count > Max || index < 0 || index >= max(count, 1) {
		return Shard{}, fault.New(fault.Invalid, "there is no shard %d of %d; at most %d count from 0", index, count, Max)
	}
	return Shard{Index: int(index), Count: max(int(count), 1)}, nil
}

// Owns reports whether a Sync is one of the shard's.
func (s Shard) Owns(namespace, name string) bool {
	return s.Count <= 1 || Of(namespace, name, s.Count) == s.Index
}

// All reports whether every Sync is the shard's.
func (s Shard) All() bool { return s.Count <= 1 }

// String returns the shard as "1 of 3", counted from 0.
func (s Shard) String() string { return fmt.Sprintf("%d of %d", s.Index, max(s.Count, 1)) }

// Of returns the index of the shard that a Sync belongs to when there are count of them: the first eight bytes, big-endian,
// of the SHA-256 of "namespace/name", modulo count. It MUST NOT change: replicas of two versions would both work for a Sync.
func Of(namespace, name string, count int) int {
	sum := sha256.Sum256([]byte(namespace + "/" + name))
	return int(binary.BigEndian.Uint64(sum[:8]) % uint64(max(count, 1)))
}
