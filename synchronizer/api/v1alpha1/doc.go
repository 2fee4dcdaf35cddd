// Package v1alpha1 is the Sync resource: what a namespace wants converged, and how far that came.
//
// The names that appear on other objects (labels, annotations, the field manager) are here as well, because they are
// as much a public contract as the fields are. The schema that the API server checks is crd.yaml beside this file;
// deploy/crds holds the same bytes for installers.
package v1alpha1

import _ "embed"

// CRD is the CustomResourceDefinition of Sync, as YAML.
//
//go:embed crd.yaml
var CRD []byte
