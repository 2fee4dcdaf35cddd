// Package render turns a tree of plain manifests into objects with file and line.
//
// Tree reads every .yaml, .yml and .json file below a path; File reads one. Values mean what they mean to kubectl
// (a YAML 1.1 "yes" is true, 0644 is octal). Keys are as the file gives them until Resolve, which alone knows which
// kinds are namespaced, fills in namespaces and finds objects that are written twice.
//
// A file that could not be used in full is in Result.Broken and spoils no other file. Every Problem names a file and,
// where there is one, a line, and says what to do. Input is hostile: everything that can grow has a limit.
package render

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/synchronizer/internal/object"
)

// The limits.
const (
	MaxFiles       = 10_000
	MaxObjects     = 20_000
	MaxFileBytes   = 8 << 20 // a bundle of CRDs is half of this
	MaxStructure   = 500_000 // bytes that can begin a value, in one file: what a parser needs memory for
	MaxNesting     = 200     // a CRD with a nested schema reaches 60
	MaxAliasValues = 100_000 // values that come out of YAML aliases, in one file
	MaxProblems    = 200     // problems that are kept of one tree
)

// Desired is one object as Git wants it.
type Desired struct {
	Key    object.Key
	GVK    schema.GroupVersionKind
	Origin object.Origin
	// Hash is over the canonical JSON of the object.
	Hash [sha256.Size]byte
	// Bytes is the size of that JSON.
	Bytes int
	// Object is what the file says; nil once forgotten, see Load.
	Object *unstructured.Unstructured
	// Defines is what a CustomResourceDefinition brings into being; nil for every other object.
	Defines *Definition
	// Policy is what the object asks for itself.
	Policy Policy

	scales     *schema.GroupKind // what an autoscaler scales
	scaledName string

	blob  gitobject.ID
	index int // among the objects of the file
}

// Definition is the kind that a CustomResourceDefinition brings into being.
type Definition struct {
	schema.GroupKind

	Namespaced bool
}

// Problem is something in a file that needs a person.
type Problem struct {
	File    string
	Line    int    // 0 when unknown
	Object  string // "Kind/namespace/name"; empty when there is none
	Message string // what is wrong and what to do
}

// String is "file:line: message".
func (p Problem) String() string {
	at := object.Origin{File: p.File, Line: p.Line}.String()
	if p.Object != "" {
		at += ": " + p.Object
	}
	return at + ": " + p.Message
}

// Result is what a tree holds. It is not changed after it was returned.
type Result struct {
	Objects  []Desired
	Problems []Problem
	// Broken are the files of which something could not be used. What they used to hold is unknown.
	Broken map[string]bool
	// Unknown counts the objects whose kinds the cluster does not serve; it may do so later.
	Unknown int

	files map[string]parsed
}

// hash is over JSON with sorted keys, which is what Marshal of a map gives. It returns the size of that too.
func hash(content map[string]any) (sum [sha256.Size]byte, size int, err error) {
	canonical, err := json.Marshal(content)
	if err != nil {
		return sum, 0, fmt.Errorf("cannot be written as JSON: %w", err)
	}
	return sha256.Sum256(canonical), len(canonical), nil
}
