package converge

import (
	"context"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/tandem-cd/tandem/shared/fair"
)

// lanesPerWorker is how many Syncs may be on their way to new content for each worker. Workers do what needs a processor;
// most of the way is waiting for the API server, which needs none.
const lanesPerWorker = 4

// newQueue returns a queue that takes keys of one namespace after the other: a namespace with a thousand Syncs that have
// something to do is as far away as one with a single one.
func newQueue() workqueue.TypedDelayingInterface[types.NamespacedName] {
	return workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[types.NamespacedName]{
		Queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[types.NamespacedName]{
			Queue: fair.NewOrder(func(key types.NamespacedName) string { return key.Namespace }),
		}),
	})
}

// dispatch gives keys to workers until the queue is shut down.
func (l *Loop) dispatch(ctx context.Context, group *errgroup.Group) {
	for {
		key, shutdown := l.queue.Get()
		if shutdown {
			return
		}
		l.sit()
		group.Go(func() error {
			defer l.rise()
			l.work(ctx, key)
			return nil
		})
	}
}

func (l *Loop) work(ctx context.Context, key types.NamespacedName) {
	again := l.pass(ctx, key)
	for _, next := range l.lanes.Leave(key) {
		l.queue.Add(next)
	}
	l.queue.Done(key)
	l.calm()
	if again > 0 && ctx.Err() == nil {
		l.queue.AddAfter(key, again)
	}
}

// sit takes a worker, and rise gives it back. Whoever holds one MUST NOT wait for another.
func (l *Loop) sit() {
	l.seats <- struct{}{}
	l.metrics.busy.WithLabelValues().Inc()
}

func (l *Loop) rise() {
	l.metrics.busy.WithLabelValues().Dec()
	<-l.seats
}

// enter reports whether a pass may go to new content, or write, now. If not, another is made when it may.
func (p *pass) enter() bool {
	status := &p.sync.Status
	if p.work.inventory != nil {
		status = &p.work.status // newer
	}
	first := status.Applied == nil // everything is written; later only what has changed
	return p.loop.lanes.Enter(p.key, p.key.Namespace, first)
}
