package relay

import (
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// lingering is how long a connection that was replaced may finish its calls.
const lingering = 30 * time.Second

// Link is the one connection to the automator that Follow, Fetch and Report share. It is safe for concurrent use.
type Link struct {
	dial Dial
	mu   sync.Mutex
	conn *grpc.ClientConn
}

// NewLink returns a link that dials on first use.
func NewLink(dial Dial) *Link { return &Link{dial: dial} }

// Conn returns the present connection. One that could not be made is replaced: gRPC would wait for as long again as the
// caller did, up to two minutes after an outage, and refuse every call meanwhile.
func (l *Link) Conn() (*grpc.ClientConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && l.conn.GetState() == connectivity.TransientFailure {
		_ = l.conn.Close() // every call on it failed already
		l.conn = nil
	}
	if l.conn != nil {
		return l.conn, nil
	}
	conn, err := l.dial()
	if err != nil {
		return nil, err
	}
	l.conn = conn
	return conn, nil
}

// Renew makes the next Conn dial anew, perhaps to another replica. Calls on old go on for a while.
func (l *Link) Renew(old *grpc.ClientConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != old || old == nil {
		return
	}
	l.conn = nil
	time.AfterFunc(lingering, func() { _ = old.Close() }) // fails only when it is closed
}

// Close ends the present connection.
func (l *Link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return nil
	}
	conn := l.conn
	l.conn = nil
	return conn.Close()
}
