package evidence

import (
	"github.com/tandem-cd/tandem/shared/fair"
	"github.com/tandem-cd/tandem/shared/signature"
)

// want is an image that a Sync wants to know about.
type want struct {
	sync  string
	image signature.Image
}

// queue gives out what is wanted, one of each Sync in turn. An image that several want stands in the line of each.
type queue struct {
	order *fair.Order[want]
	in    map[want]struct{}
}

func newQueue() queue {
	return queue{order: fair.NewOrder(func(w want) string { return w.sync }), in: map[want]struct{}{}}
}

// push puts what is wanted at the end of its Sync's line, unless it stands there.
func (q queue) push(w want) {
	if _, there := q.in[w]; there {
		return
	}
	q.in[w] = struct{}{}
	q.order.Push(w)
}

func (q queue) len() int { return q.order.Len() }

// pop takes the first one of the next Sync in turn. There MUST be one.
func (q queue) pop() want {
	w := q.order.Pop()
	delete(q.in, w)
	return w
}
