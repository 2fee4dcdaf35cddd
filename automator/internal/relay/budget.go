package relay

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/tandem-cd/tandem/shared/fault"
)

// What one cluster may cost, however many connections it has. Who is over a rate waits: the stream is not read until the
// budget allows it, so that nothing is dropped and only the sender is slowed down.
const (
	// reportRate and reportBurst bound the messages of a cluster's reports. The burst holds the full status of the largest
	// cluster, see fleet.MaxSyncsPerCluster.
	reportRate, reportBurst = 100, 25_000
	// reportBytes and reportBytesBurst bound their bytes.
	reportBytes, reportBytesBurst = 1 << 20, 64 << 20
	// partRate, partBurst, partBytes and partBytesBurst bound the same of answers to people. The bursts hold the largest answers to
	// all questions that a cluster may be asked at a time. Reports have a bound of their own: no question delays status.
	partRate, partBurst       = 1000, maxClusterQuestions * maxParts
	partBytes, partBytesBurst = 1 << 20, maxClusterQuestions * maxAnswer
	// eventRate and eventBurst bound the events that are stored, which cost a disk and not just memory. The burst is what a
	// synchronizer keeps at most while it is not heard: a commit that moves a thousand Syncs makes four thousand.
	eventRate, eventBurst = 20, 10_000
	// MaxEvent bounds one event, in bytes.
	MaxEvent = 64 << 10
	// maxClusterFetches bounds the transfers of a cluster that run, and maxClusterWaiting those that wait for that; further
	// ones are refused.
	maxClusterFetches, maxClusterWaiting = 4, 256
	// maxClusterCollects bounds those of them that are being put together: the other places of maxCollects are for others.
	maxClusterCollects = 1
	// fetchBytes and fetchBurst bound what transfers cost: their bytes, and pieceCost for each object, which stands for the
	// work of finding it. Two of the largest go at once; a cluster that asks for ten thousand commits in a loop gets a few
	// percent of a processor.
	fetchBytes, fetchBurst = 2 << 20, 192 << 20
	// signatureRate and signatureBurst bound the images that a cluster asks about, and maxClusterSignatures those that it asks about at
	// a time, beside as many that wait as transfers may: what is not kept costs a registry several requests.
	signatureRate, signatureBurst = 10, 1000
	maxClusterSignatures          = 8
	// answerBytes and answerBurst bound what answers about them cost. Transfers have a bound of their own: nobody who may have
	// images asked about keeps a cluster from its content.
	answerBytes, answerBurst = 1 << 20, 64 << 20
	// pieceCost is what an object costs besides its bytes, in bytes.
	pieceCost = 1 << 10
)

// What transfers may cost this process, of all clusters together.
const (
	// maxCollects bounds the transfers that are being put together, and maxSends those that are being sent; more wait. A
	// slow receiver is in the way of the second for as long as sendTimeout only.
	maxCollects, maxSends = 4, 64
	// maxHeld bounds the bytes of transfers that are put together and not sent yet.
	maxHeld = 512 << 20
	// maxAnswers bounds the answers about signatures that are put together or being sent, each of signature.MaxRelayed at most;
	// while it is put together it may take four times that. One that is not taken in sendTimeout as a whole is hung up on. The last
	// newcomerAnswers are for clusters that have none: registries that do not answer may be waited for in the others.
	maxAnswers, newcomerAnswers = 64, 16
)

// budget is what one cluster may spend.
type budget struct {
	messages, bytes, parts, partBytes, events, fetched, signatures, answered *rate.Limiter
	fetches, waiting, collects, asking, toAsk                                *semaphore.Weighted
}

// budgets keeps the budget of every cluster that connected once: a new connection is no new budget. There are as many as
// there are certificates.
type budgets struct {
	mu  sync.Mutex
	all map[string]*budget
}

func (b *budgets) of(cluster string) *budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[string]*budget{}
	}
	if b.all[cluster] == nil {
		b.all[cluster] = &budget{
			messages: rate.NewLimiter(reportRate, reportBurst), bytes: rate.NewLimiter(reportBytes, reportBytesBurst),
			parts: rate.NewLimiter(partRate, partBurst), partBytes: rate.NewLimiter(partBytes, partBytesBurst),
			events: rate.NewLimiter(eventRate, eventBurst), fetched: rate.NewLimiter(fetchBytes, fetchBurst),
			fetches: semaphore.NewWeighted(maxClusterFetches), waiting: semaphore.NewWeighted(maxClusterFetches + maxClusterWaiting),
			collects:   semaphore.NewWeighted(maxClusterCollects),
			signatures: rate.NewLimiter(signatureRate, signatureBurst), asking: semaphore.NewWeighted(maxClusterSignatures),
			answered: rate.NewLimiter(answerBytes, answerBurst), toAsk: semaphore.NewWeighted(maxClusterSignatures + maxClusterWaiting),
		}
	}
	return b.all[cluster]
}

// report waits until a message of a report may be taken.
func (b *budget) report(ctx context.Context, size int) error {
	if err := b.messages.Wait(ctx); err != nil {
		return err
	}
	return b.bytes.WaitN(ctx, min(size, reportBytesBurst))
}

// part waits until a message of an answer to somebody may be taken.
func (b *budget) part(ctx context.Context, size int) error {
	if err := b.parts.Wait(ctx); err != nil {
		return err
	}
	return b.partBytes.WaitN(ctx, min(size, partBytesBurst))
}

// event waits until at least one of some events may be stored, and returns how many of them may be.
func (b *budget) event(ctx context.Context, wanted int) (int, error) {
	count := min(wanted, max(1, int(b.events.Tokens())))
	return count, b.events.WaitN(ctx, count)
}

// fetch waits until a transfer may begin. What it returns is called at its end.
func (b *budget) fetch(ctx context.Context, cluster string) (done func(), err error) {
	if !b.waiting.TryAcquire(1) {
		return nil, fault.New(fault.Conflict, "cluster %q has %d transfers running and %d waiting; let some end first", cluster, maxClusterFetches, maxClusterWaiting)
	}
	if err := b.fetches.Acquire(ctx, 1); err != nil {
		b.waiting.Release(1)
		return nil, err
	}
	return func() { b.fetches.Release(1); b.waiting.Release(1) }, nil
}

// affords waits until the debt of the transfers before is paid.
func (b *budget) affords(ctx context.Context) error {
	if err := b.fetched.Wait(ctx); err != nil {
		return fault.New(fault.Conflict, "this cluster has fetched more than %d bytes a second for long; wait a minute: %w", fetchBytes, err)
	}
	return nil
}

// signature waits until an image may be asked about. What it returns is called at the end.
func (b *budget) signature(ctx context.Context, cluster string) (done func(), err error) {
	if !b.toAsk.TryAcquire(1) {
		return nil, fault.New(fault.Conflict, "cluster %q asks about %d images and %d wait; let some end first", cluster, maxClusterSignatures, maxClusterWaiting)
	}
	if err := b.mayAsk(ctx); err != nil {
		b.toAsk.Release(1)
		return nil, err
	}
	return func() { b.asking.Release(1); b.toAsk.Release(1) }, nil
}

func (b *budget) mayAsk(ctx context.Context) error {
	if err := b.signatures.Wait(ctx); err != nil {
		return fault.New(fault.Conflict, "this cluster has asked about more than %d images a second for long; wait a minute: %w", signatureRate, err)
	}
	if err := b.answered.Wait(ctx); err != nil {
		return fault.New(fault.Conflict, "this cluster was answered more than %d bytes of signatures a second for long; wait a minute: %w", answerBytes, err)
	}
	return b.asking.Acquire(ctx, 1)
}

// answer books what an answer about signatures turned out to cost, as charge does.
func (b *budget) answer(bytes int64, pieces int) {
	b.answered.ReserveN(time.Now(), int(min(bytes+int64(pieces)*pieceCost, answerBurst)))
}

// charge books what a transfer turned out to cost. It may be more than there is: the next one waits for the rest.
func (b *budget) charge(bytes int64, pieces int) {
	cost := bytes + int64(pieces)*pieceCost
	b.fetched.ReserveN(time.Now(), int(min(cost, fetchBurst)))
}
