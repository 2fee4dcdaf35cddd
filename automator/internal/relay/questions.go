package relay

import (
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	relayv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/relay/v1"
	statusv1 "github.com/tandem-cd/tandem/proto/gen/go/tandem/status/v1"
	"github.com/tandem-cd/tandem/shared/fault"
	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/revision"
	"github.com/tandem-cd/tandem/shared/shard"
)

// What questions may cost. Answers wait here until their askers have taken them, so maxQuestions times maxAnswer bounds
// the memory of all, whatever clusters and askers do.
const (
	// maxClusterQuestions bounds the questions to a cluster that are open, and maxQuestions those to all.
	maxClusterQuestions, maxQuestions = 4, 64
	// maxParts and maxAnswer bound an answer, in parts and bytes; they are the protocol's.
	maxParts, maxAnswer = 20_000, 4 << 20
	// maxPart bounds one message of an answer, in bytes; it is the protocol's.
	maxPart = 128 << 10
	// maxQuestionTime bounds how long an answer may take; it is the protocol's.
	maxQuestionTime = 2 * time.Minute
)

// Question is what somebody wants to know of a Sync.
type Question struct {
	Kind            relayv1.QueryKind
	Namespace, Name string
	// Commit is what a diff compares with; zero is the applied one.
	Commit gitobject.ID
}

// questions are those that are open, by whom they go to, with the Serve streams that exist because of them. Who is not asked
// has no entry.
type questions struct {
	mu    sync.Mutex
	open  int
	desks map[addressee]*desk
}

// addressee is who is asked: the replica of a cluster that works for a shard of its Syncs.
type addressee struct {
	cluster string
	of      shard.Shard
}

// desk is where the questions to one addressee and its answers meet.
type desk struct {
	open    int
	waiting []*question // until a stream takes them
	line    *line       // the newest Serve stream; nil for none
}

// question is one that is open: its asker has not left.
type question struct {
	Question

	to    addressee
	until time.Time
	id    int64
	line  *line // nil while it waits
	parts []*statusv1.AskResponse
	count int
	bytes int
	over  bool
	err   error
	news  chan struct{}
}

// line is one Serve stream.
type line struct {
	to     addressee
	offers []relayv1.QueryKind
	open   map[int64]*question
	last   int64                    // the newest id
	out    []*relayv1.ServeResponse // to be sent
	news   chan struct{}
	over   bool // it takes no further question
}

// signal wakes whoever waits for news.
func signal(news chan struct{}) {
	select {
	case news <- struct{}{}:
	default: // it is going to look anyway
	}
}

// put opens a question. It is answered over the addressee's Serve stream, or waits for one.
func (h *questions) put(to addressee, asked Question, until time.Time) (*question, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.desks[to]
	if h.openTo(to.cluster) >= maxClusterQuestions {
		return nil, fault.New(fault.Conflict, "cluster %q is answering %d questions already; ask again when one has been answered", to.cluster, maxClusterQuestions)
	}
	if h.open >= maxQuestions {
		return nil, fault.New(fault.Conflict, "%d questions to clusters are open already; ask again in a moment", maxQuestions)
	}
	if d == nil {
		d = &desk{}
		if h.desks == nil {
			h.desks = map[addressee]*desk{}
		}
		h.desks[to] = d
	}
	q := &question{Question: asked, to: to, until: until, news: make(chan struct{}, 1)}
	d.open++
	h.open++
	if d.line != nil {
		d.line.take(q)
	} else {
		d.waiting = append(d.waiting, q)
	}
	return q, nil
}

// openTo returns how many questions to a cluster are open, whichever of its replicas they go to. The caller holds mu.
func (h *questions) openTo(cluster string) (open int) {
	for to, d := range h.desks { // no more than there are questions and streams
		if to.cluster == cluster {
			open += d.open
		}
	}
	return open
}

// waiting reports whether an addressee is to open a Serve stream.
func (h *questions) waiting(to addressee) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.desks[to]
	return d != nil && len(d.waiting) > 0
}

// attach gives a Serve stream the questions that wait.
func (h *questions) attach(to addressee, offers []relayv1.QueryKind) (*line, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.desks[to]
	if d == nil || len(d.waiting) == 0 {
		return nil, fault.New(fault.Stale, "no question to cluster %q waits", to.cluster)
	}
	l := &line{to: to, offers: offers, open: map[int64]*question{}, news: make(chan struct{}, 1)}
	d.line = l
	for _, q := range d.waiting {
		l.take(q)
	}
	d.waiting = nil
	return l, nil
}

// take sends a question over the stream, if the cluster offers to answer it.
func (l *line) take(q *question) {
	if !slices.Contains(l.offers, q.Kind) {
		q.finish(fault.New(fault.Unauthorized, "cluster %q does not answer this question; its administrator decides that in the synchronizer's configuration, under queries", l.to.cluster))
		return
	}
	l.last++
	q.id, q.line = l.last, l
	l.open[q.id] = q
	l.send(&relayv1.ServeResponse{Message: &relayv1.ServeResponse_Query{Query: &relayv1.Query{
		Id: q.id, Kind: q.Kind, Namespace: q.Namespace, Name: q.Name, Commit: revision.ObjectToProto(q.Commit),
		Timeout: durationpb.New(time.Until(q.until)),
	}}})
}

func (l *line) send(message *relayv1.ServeResponse) {
	l.out = append(l.out, message)
	signal(l.news)
}

// finish ends an answer.
func (q *question) finish(err error) {
	if q.over {
		return
	}
	q.over, q.err = true, err
	if q.line != nil {
		delete(q.line.open, q.id)
		signal(q.line.news)
	}
	signal(q.news)
}

// next returns what is to be sent over a stream now, and whether the stream is over: everything was sent, and no question
// is left.
func (h *questions) next(l *line) (out []*relayv1.ServeResponse, over bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	out, l.out = l.out, nil
	if len(out) == 0 && len(l.open) == 0 {
		h.end(l)
	}
	return out, l.over
}

// end has a stream take no further question.
func (h *questions) end(l *line) {
	l.over = true
	if d := h.desks[l.to]; d != nil && d.line == l {
		d.line = nil
		h.clear(l.to, d)
	}
}

// clear forgets a desk where nothing is left.
func (h *questions) clear(to addressee, d *desk) {
	if d.open == 0 && d.line == nil {
		delete(h.desks, to)
	}
}

// detach takes note that a stream has ended: what it was asked stays without an answer.
func (h *questions) detach(l *line, why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range l.open {
		q.finish(why)
	}
	h.end(l)
}

// answer takes a part of an answer that came over a stream; size is that of the whole message. The error is the stream's.
func (h *questions) answer(l *line, answer *relayv1.Answer, size int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if size > maxPart {
		return fault.New(fault.Invalid, "a part of an answer has %d bytes, more than %d", size, maxPart)
	}
	if answer.GetId() < 1 || answer.GetId() > l.last {
		return fault.New(fault.Invalid, "nobody asked question %d", answer.GetId())
	}
	q := l.open[answer.GetId()]
	if q == nil {
		return nil // it is over, or its asker has gone
	}
	if err := q.add(answer.GetPart(), size); err != nil {
		q.finish(err)
		l.send(cancelOf(q))
		return nil
	}
	switch {
	case answer.GetError() != nil:
		q.finish(q.failure(answer))
	case answer.GetLast():
		q.finish(nil)
	}
	return nil
}

func cancelOf(q *question) *relayv1.ServeResponse {
	return &relayv1.ServeResponse{Message: &relayv1.ServeResponse_Cancel{Cancel: &relayv1.QueryCancel{Id: q.id}}}
}

// maxReason bounds what a cluster says about why it does not answer, in bytes; it is the protocol's.
const maxReason = 1024

// failure is why a cluster did not answer, as the asker is told.
func (q *question) failure(answer *relayv1.Answer) error {
	reason := answer.GetError().GetMessage()
	reason = strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
	return fault.New(fault.KindOfStatus(answer.GetCode()), "cluster %q: %s", q.to.cluster, reason)
}

// add keeps a part for the asker.
func (q *question) add(part *statusv1.AskResponse, size int) error {
	if part == nil {
		return nil
	}
	if !belongs(part, q.Kind) {
		return fault.New(fault.Internal, "cluster %q answers another question than it was asked", q.to.cluster)
	}
	q.count++
	q.bytes += size
	if q.count > maxParts || q.bytes > maxAnswer {
		return fault.New(fault.Internal, "the answer of cluster %q has more than %d parts or %d bytes", q.to.cluster, maxParts, maxAnswer)
	}
	q.parts = append(q.parts, part)
	signal(q.news)
	return nil
}

// belongs reports whether a part may answer a kind of question.
func belongs(part *statusv1.AskResponse, kind relayv1.QueryKind) bool {
	switch part.GetPart().(type) {
	case *statusv1.AskResponse_Node:
		return kind == relayv1.QueryKind_QUERY_KIND_RESOURCE_TREE
	case *statusv1.AskResponse_Event:
		return kind == relayv1.QueryKind_QUERY_KIND_EVENTS
	case *statusv1.AskResponse_Diff, *statusv1.AskResponse_Summary:
		return kind == relayv1.QueryKind_QUERY_KIND_DIFF
	default:
		return true // an omission, or a case of a newer synchronizer that the asker may know
	}
}

// more returns what came since it was called last, and whether that was all.
func (h *questions) more(q *question) (parts []*statusv1.AskResponse, over bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	parts, q.parts = q.parts, nil
	return parts, q.over, q.err
}

// taken reports whether a stream has taken a question.
func (h *questions) taken(q *question) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return q.line != nil || q.over
}

// drop closes a question. Its cluster is told when it is still at it.
func (h *questions) drop(q *question) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.desks[q.to]
	d.open--
	h.open--
	d.waiting = slices.DeleteFunc(d.waiting, func(w *question) bool { return w == q })
	if l := q.line; l != nil && !q.over {
		q.finish(nil)
		if unsent := slices.IndexFunc(l.out, func(m *relayv1.ServeResponse) bool { return m.GetQuery().GetId() == q.id }); unsent >= 0 {
			l.out = slices.Delete(l.out, unsent, unsent+1)
		} else {
			l.send(cancelOf(q))
		}
	}
	h.clear(q.to, d)
}
