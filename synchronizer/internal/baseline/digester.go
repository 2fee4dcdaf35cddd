package baseline

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math"
	"slices"
	"sync"
)

// chunk is how much is hashed at once.
const chunk = 4096

// Tags before each part, so that no two different objects write the same bytes.
const (
	tagAbsent  = 'x' // a path of ours where the object has nothing
	tagPresent = 'p' // something is there, and what it is does not count
	tagOpen    = '('
	tagClose   = ')'
	tagNull    = 'n'
	tagFalse   = 'f'
	tagTrue    = 't'
	tagInt     = 'i'
	tagFloat   = 'd'
	tagText    = 's'
	tagList    = '['
	tagMap     = '{'
)

var digesters = sync.Pool{New: func() any { return &digester{hash: sha256.New()} }} //nolint:gochecknoglobals // a pool is of use only when shared

// digester writes a canonical form of a path set and its values into a hash.
// Its slices are stacks: whoever grows one cuts it back.
type digester struct {
	hash   hash.Hash
	buffer []byte
	keys   []string
	others []map[string]any // nodes of other managers' path sets
}

// span is a part of digester.others: the nodes at the current path.
type span struct{ from, to int }

// set writes the paths of a node, each with what value has there.
func (d *digester) set(node map[string]any, value any, others span) {
	from, at := d.sorted(node), placeOf(value, node)
	for i := from; i < from+len(node); i++ {
		element := d.keys[i]
		d.text(element)
		if element == "." {
			continue // the path itself is ours; its presence was written by the caller
		}
		child, _ := node[element].(map[string]any)
		found, ok := at.resolve(element)
		d.path(child, found, ok, d.below(element, others))
	}
	d.keys = d.keys[:from]
}

// path writes what is at one path: a leaf is hashed as a whole, below anything
// else only the paths that are ours count.
func (d *digester) path(node map[string]any, value any, ok bool, others span) {
	defer func() { d.others = d.others[:others.from] }()
	switch {
	case !ok:
		d.tag(tagAbsent)
	case len(node) > 0:
		d.tag(tagPresent)
	case others.to > others.from, empty(value):
		d.tag(tagPresent)
		return
	default:
		d.value(value)
		return
	}
	d.tag(tagOpen)
	d.set(node, value, others)
	d.tag(tagClose)
}

// below collects the nodes of other managers' sets that have paths strictly
// below element.
func (d *digester) below(element string, at span) span {
	from := len(d.others)
	for i := at.from; i < at.to; i++ {
		node, _ := d.others[i][element].(map[string]any)
		if len(node) > 0 && !onlyItself(node) {
			d.others = append(d.others, node)
		}
	}
	return span{from, len(d.others)}
}

// empty values are written like those that others have filled in, so that the
// filling is no drift.
func empty(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	default:
		return false
	}
}

func onlyItself(node map[string]any) bool {
	_, itself := node["."]
	return itself && len(node) == 1
}

// value writes a whole value.
func (d *digester) value(v any) {
	switch v := v.(type) {
	case nil:
		d.tag(tagNull)
	case bool:
		d.flag(v)
	case int64:
		d.number(tagInt, uint64(v))
	case float64:
		d.float(v)
	case string:
		d.text(v)
	case []any:
		d.number(tagList, uint64(len(v)))
		for _, item := range v {
			d.value(item)
		}
	case map[string]any:
		d.mapping(v)
	default: // not what a decoder of JSON makes
		d.text(fmt.Sprintf("%T %v", v, v))
	}
}

func (d *digester) flag(b bool) {
	if b {
		d.tag(tagTrue)
		return
	}
	d.tag(tagFalse)
}

func (d *digester) mapping(m map[string]any) {
	d.number(tagMap, uint64(len(m)))
	from := d.sorted(m)
	for i := from; i < from+len(m); i++ {
		d.text(d.keys[i])
		d.value(m[d.keys[i]])
	}
	d.keys = d.keys[:from]
}

// float writes whole numbers as integers: the server may print 1.0 as 1.
func (d *digester) float(f float64) {
	if whole := int64(f); float64(whole) == f && math.Abs(f) < 1<<53 {
		d.number(tagInt, uint64(whole))
		return
	}
	d.number(tagFloat, math.Float64bits(f))
}

// sorted pushes the keys of m in order and returns where they start.
func (d *digester) sorted(m map[string]any) int {
	from := len(d.keys)
	for key := range m {
		d.keys = append(d.keys, key)
	}
	slices.Sort(d.keys[from:])
	return from
}

func (d *digester) tag(tag byte) { d.buffer = append(d.buffer, tag) }

func (d *digester) number(tag byte, n uint64) {
	d.buffer = binary.AppendUvarint(append(d.buffer, tag), n)
	d.drain()
}

func (d *digester) text(s string) {
	d.number(tagText, uint64(len(s)))
	for len(s) > chunk {
		d.buffer = append(d.buffer, s[:chunk]...)
		d.drain()
		s = s[chunk:]
	}
	d.buffer = append(d.buffer, s...)
	d.drain()
}

// drain keeps the buffer small whatever the object's size.
func (d *digester) drain() {
	if len(d.buffer) < chunk {
		return
	}
	d.hash.Write(d.buffer)
	d.buffer = d.buffer[:0]
}

func (d *digester) sum() (digest Digest) {
	d.hash.Write(d.buffer)
	d.hash.Sum(digest[:0])
	return digest
}

func (d *digester) release() {
	d.hash.Reset()
	clear(d.keys[:cap(d.keys)]) // no object is kept alive by the pool
	clear(d.others[:cap(d.others)])
	d.buffer, d.keys, d.others = d.buffer[:0], d.keys[:0], d.others[:0]
	digesters.Put(d)
}
