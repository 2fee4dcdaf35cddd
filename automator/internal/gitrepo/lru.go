package gitrepo

import (
	"container/list"
	"sync"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// lru keeps the objects that were used last, up to a number of bytes.
type lru[V any] struct {
	limit int

	mu    sync.Mutex
	size  int
	order *list.List // of *held, the last used in front
	byID  map[gitobject.ID]*list.Element
}

type held[V any] struct {
	id    gitobject.ID
	value V
	cost  int
}

func newLRU[V any](limit int) *lru[V] {
	return &lru[V]{limit: limit, order: list.New(), byID: map[gitobject.ID]*list.Element{}}
}

func (c *lru[V]) get(id gitobject.ID) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.byID[id]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(element)
	return element.Value.(*held[V]).value, true //nolint:forcetypeassert // put stores nothing else
}

func (c *lru[V]) put(id gitobject.ID, value V, cost int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byID[id]; ok || cost > c.limit {
		return
	}
	c.byID[id] = c.order.PushFront(&held[V]{id: id, value: value, cost: cost})
	c.size += cost
	for c.size > c.limit {
		c.drop(c.order.Back())
	}
}

func (c *lru[V]) drop(element *list.Element) {
	entry := c.order.Remove(element).(*held[V]) //nolint:forcetypeassert // put stores nothing else
	delete(c.byID, entry.id)
	c.size -= entry.cost
}

func (c *lru[V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.Init()
	clear(c.byID)
	c.size = 0
}
