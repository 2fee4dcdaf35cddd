// Package shards keeps inventories in ConfigMaps, in the Sync's namespace and owned by the Sync. A small one needs none: it
// goes into the Sync's status with what is written there anyway.
package shards

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/tandem-cd/tandem/shared/telemetry"
	"github.com/tandem-cd/tandem/synchronizer/api/v1alpha1"
	"github.com/tandem-cd/tandem/synchronizer/internal/inventory"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// manager is the field manager of the ConfigMaps; they are the synchronizer's own, not a Sync's objects.
const manager = "tandem-synchronizer-inventory"

// dataKey is where a ConfigMap holds its shard.
const dataKey = "records.json.gz"

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"} //nolint:gochecknoglobals // a constant

// Store keeps inventories in ConfigMaps.
type Store struct {
	dynamic dynamic.Interface
	log     *zap.Logger
	mu      sync.Mutex
	saved   map[types.UID][]uint64 // fingerprints of the shards that the API server has, so that only others are written
}

// New returns a store that writes as the synchronizer itself.
func New(client dynamic.Interface, log *zap.Logger) *Store {
	return &Store{dynamic: client, log: log, saved: map[types.UID][]uint64{}}
}

// Load reads the inventory of a Sync. A shard that is missing or damaged counts as empty.
func (s *Store) Load(ctx context.Context, sync *v1alpha1.Sync) (map[object.Key]inventory.Entry, error) {
	entries := map[object.Key]inventory.Entry{}
	if len(sync.Status.Inventory) > 0 {
		s.add(entries, sync.Status.Inventory, sync)
	}
	lost := map[int]bool{}
	count := min(sync.Status.Shards, inventory.MaxShards)
	for i := range count {
		shard, err := s.read(ctx, sync, i)
		if err != nil {
			return nil, err
		}
		lost[i] = !s.add(entries, shard, sync)
	}
	s.remember(sync.UID, found(entries, count, lost))
	return entries, nil
}

// unlike is the fingerprint of a shard that has to be written, whatever comes into it: no shard has it but by accident.
const unlike = 1

// found are the fingerprints of what was read from count shards.
func found(entries map[object.Key]inventory.Entry, count int, lost map[int]bool) []uint64 {
	prints, saved := inventory.Prints(entries), make([]uint64, count)
	for i := range saved {
		saved[i] = unlike
		if len(prints) == count && !lost[i] {
			saved[i] = prints[i]
		}
	}
	return saved
}

// add reads a shard into entries, and reports whether it could be read.
func (s *Store) add(entries map[object.Key]inventory.Entry, shard []byte, sync *v1alpha1.Sync) bool {
	part, err := inventory.Decode(shard)
	if err != nil {
		s.log.Warn("inventory lost; its objects are applied once more",
			zap.String(telemetry.Namespace, sync.Namespace), zap.String(telemetry.Name, sync.Name), zap.Error(err))
		return false
	}
	for _, entry := range part {
		entries[entry.Key] = entry
	}
	return true
}

func (s *Store) read(ctx context.Context, sync *v1alpha1.Sync, i int) ([]byte, error) {
	got, err := s.dynamic.Resource(configMaps).Namespace(sync.Namespace).Get(ctx, shardName(sync.Name, i), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	if owners := got.GetOwnerReferences(); len(owners) != 1 || owners[0].UID != sync.UID {
		return nil, nil // left by a Sync of the same name that is gone
	}
	data, _ := got.Object["binaryData"].(map[string]any)
	text, _ := data[dataKey].(string)
	shard, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, nil //nolint:nilerr // a damaged shard counts as empty
	}
	return shard, nil
}

// Save writes the shards that differ from what the API server has, and returns how many there are. A small inventory is
// returned instead, to be written with the status.
func (s *Store) Save(ctx context.Context, sync *v1alpha1.Sync, entries map[object.Key]inventory.Entry) (inventory.Kept, error) {
	before, prints := s.recall(sync.UID), inventory.Prints(entries)
	differs := func(i int) bool { return len(before) != len(prints) || before[i] != prints[i] }
	single := len(prints) == 1 // its size says where it goes
	shards, err := inventory.Split(entries, len(prints), func(i int) bool { return single || differs(i) })
	if err != nil {
		return inventory.Kept{}, err
	}
	kept := inventory.Kept{Shards: len(prints)}
	if single && len(shards[0]) <= inventory.MaxInline {
		kept, prints = inventory.Kept{Inline: shards[0]}, nil
	}
	tried := slices.Clone(before)
	for i := range max(len(prints), len(before)) {
		var err error
		switch {
		case i >= len(prints):
			err = s.remove(ctx, sync, i)
		case differs(i):
			err = s.write(ctx, sync, i, shards[i])
		default:
			continue
		}
		tried = mark(tried, i)
		if err != nil {
			s.remember(sync.UID, tried)
			return inventory.Kept{}, err
		}
	}
	s.remember(sync.UID, prints)
	return kept, nil
}

// mark takes note that nobody knows what the API server has of a shard.
func mark(prints []uint64, i int) []uint64 {
	for len(prints) <= i {
		prints = append(prints, unlike)
	}
	prints[i] = unlike
	return prints
}

func (s *Store) remove(ctx context.Context, sync *v1alpha1.Sync, i int) error {
	err := s.dynamic.Resource(configMaps).Namespace(sync.Namespace).Delete(ctx, shardName(sync.Name, i), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove inventory: %w", err)
	}
	return nil
}

func (s *Store) write(ctx context.Context, sync *v1alpha1.Sync, i int, shard []byte) error {
	patch, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{
			"name": shardName(sync.Name, i), "namespace": sync.Namespace,
			"labels": map[string]any{"app.kubernetes.io/managed-by": "tandem", "tandem.dev/inventory": v1alpha1.Label(sync.Namespace, sync.Name)},
			"ownerReferences": []any{map[string]any{
				"apiVersion": v1alpha1.GroupVersion.String(), "kind": v1alpha1.Kind, "name": sync.Name, "uid": sync.UID,
			}},
		},
		"binaryData": map[string]any{dataKey: shard},
	})
	if err != nil {
		return err
	}
	force := true
	_, err = s.dynamic.Resource(configMaps).Namespace(sync.Namespace).Patch(
		ctx, shardName(sync.Name, i), types.ApplyPatchType, patch, metav1.PatchOptions{FieldManager: manager, Force: &force})
	if err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	return nil
}

// Forget drops what is remembered of a Sync that is gone.
func (s *Store) Forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.saved, uid)
}

func (s *Store) remember(uid types.UID, prints []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved[uid] = prints
}

func (s *Store) recall(uid types.UID) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved[uid]
}

// shardName is the name of a Sync's i-th ConfigMap. Names of Syncs may be as long as names can be, so a hash stands in.
func shardName(sync string, i int) string {
	sum := sha256.Sum256([]byte(sync))
	return fmt.Sprintf("tandem-inventory-%s-%d", hex.EncodeToString(sum[:8]), i)
}
