package fair

// Order stores the items of a queue by flow, and gives them out one of each flow in turn. It is a workqueue.Queue, whose
// methods are never called side by side.
type Order[T comparable] struct {
	flowOf func(T) string
	flows  map[string][]T
	ring   []string // flows with items; the next one in turn first
	count  int
}

// NewOrder returns an empty order of items by what flowOf says.
func NewOrder[T comparable](flowOf func(T) string) *Order[T] {
	return &Order[T]{flowOf: flowOf, flows: map[string][]T{}}
}

// Touch does nothing: an item that comes again keeps its place.
func (o *Order[T]) Touch(T) {}

// Push adds an item behind those of its flow.
func (o *Order[T]) Push(item T) {
	flow := o.flowOf(item)
	if len(o.flows[flow]) == 0 {
		o.ring = append(o.ring, flow)
	}
	o.flows[flow] = append(o.flows[flow], item)
	o.count++
}

// Len returns how many items there are.
func (o *Order[T]) Len() int { return o.count }

// Pop takes the first item of the next flow in turn. There MUST be one.
func (o *Order[T]) Pop() T {
	flow := o.ring[0]
	items := o.flows[flow]
	o.ring, o.count = o.ring[1:], o.count-1
	if len(items) == 1 {
		delete(o.flows, flow)
		return items[0]
	}
	o.flows[flow] = items[1:]
	o.ring = append(o.ring, flow)
	return items[0]
}
