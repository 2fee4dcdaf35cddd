package tenancy

import (
	"fmt"

	"github.com/tandem-cd/tandem/synchronizer/internal/render"
)

// OverQuotaError says that a tree holds more than a Sync of its namespace may. Nothing of it is applied, and nothing that
// was applied before is removed.
type OverQuotaError struct {
	// Namespace is whose quota it is.
	Namespace string
	// Limit is the key of the quota: objects or bytes.
	Limit string
	// Held is what the tree holds of it, and Allowed what it may.
	Held, Allowed int64
	// File is where the quota is reached, in the order in which files are read.
	File string
}

// Error says how much too much it is, and who can change that.
func (e *OverQuotaError) Error() string {
	return fmt.Sprintf("the tree holds %d %s, and a Sync of namespace %q may hold %d: %s goes beyond that; nothing was applied or removed; "+
		"split it into several Syncs, or ask the cluster's administrator to raise %s in the synchronizer's configuration, under quotas",
		e.Held, e.Limit, e.Namespace, e.Allowed, e.File, e.Limit)
}

// Check returns an *OverQuotaError for objects that are more than a Sync of a namespace may hold; nil when they are not.
func (r Rules) Check(namespace string, objects []render.Desired) error {
	quota := r.QuotaOf(namespace)
	var bytes int64
	over := &OverQuotaError{Namespace: namespace}
	for i := range objects {
		bytes += int64(objects[i].Bytes)
		switch {
		case over.File != "":
		case i == quota.Objects:
			over.Limit, over.Held, over.Allowed, over.File = "objects", int64(len(objects)), int64(quota.Objects), objects[i].Origin.File
		case bytes > quota.Bytes:
			over.Limit, over.Allowed, over.File = "bytes", quota.Bytes, objects[i].Origin.File
		}
	}
	switch over.Limit {
	case "":
		return nil
	case "bytes":
		over.Held = bytes
	}
	return over
}
