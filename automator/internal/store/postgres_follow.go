package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tandem-cd/tandem/shared/backoff"
)

const (
	// channel is what stores announce on. It is the database's: stores in other schemas hear it too, and look in vain.
	channel = "tandem"
	// pollEvery bounds how long a change of another store goes unnoticed while announcements are lost, as behind a pooler
	// that does not keep a session's connection.
	pollEvery = 10 * time.Second
)

// announce is sent by the server when tx is committed, and not at all when it is not.
func (p *postgres) announce(ctx context.Context, tx *sql.Tx, topic Topic) error {
	_, err := tx.ExecContext(ctx, `SELECT pg_notify($1, $2)`, channel, p.origin+" "+string(topic))
	return err
}

// follow listens, and connects anew for as long as the context is not done.
func (p *postgres) follow(ctx context.Context, wake func(Topic), report func(error)) error {
	pause := backoff.Backoff{Max: pollEvery}
	for attempt := 0; ctx.Err() == nil; attempt++ {
		err := p.listen(ctx, wake, func() { attempt = 0 })
		if ctx.Err() != nil {
			break
		}
		report(fmt.Errorf("listen for other automators: %w", err))
		if err := pause.Wait(ctx, attempt); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// listen wakes subscribers until the connection is lost; listening is called once it hears.
func (p *postgres) listen(ctx context.Context, wake func(Topic), listening func()) error {
	conn, err := p.cfg.dial(ctx, p.cfg.session())
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		_ = conn.Close(ctx) // it is lost, or nobody needs it any more
	}()
	if err := useStore(ctx, conn); err != nil { // the writer's connection may be lost while nobody writes
		return err
	}
	if _, err := conn.Exec(ctx, `LISTEN `+channel); err != nil {
		return err
	}
	listening()
	last := int64(-1) // whatever was announced before is news
	for {
		if last, err = p.look(ctx, conn, last, wake); err != nil {
			return err
		}
		if err := p.hear(ctx, conn, wake); err != nil {
			return err
		}
	}
}

// look wakes the subscribers of what may have changed without an announcement. It returns the place of the newest event.
func (p *postgres) look(ctx context.Context, conn *pgx.Conn, last int64, wake func(Topic)) (seq int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p.cfg.StatementTimeout)+grace)
	defer cancel()
	if err := conn.QueryRow(ctx, readCounter).Scan(&seq); err != nil {
		return 0, err
	}
	if seq != last {
		wake(Events)
	}
	wake(Revocations) // by a replica with another clock, so that the newest says nothing
	return seq, nil
}

// hear passes on announcements until it is time to look.
func (p *postgres) hear(ctx context.Context, conn *pgx.Conn, wake func(Topic)) error {
	wait, cancel := context.WithTimeout(ctx, pollEvery)
	defer cancel()
	for {
		heard, err := conn.WaitForNotification(wait)
		switch {
		case err == nil:
			p.passOn(heard, wake)
		case ctx.Err() == nil && errors.Is(wait.Err(), context.DeadlineExceeded) && !conn.IsClosed():
			return nil
		default:
			return err
		}
	}
}

// passOn wakes the subscribers of a topic that another store has announced.
func (p *postgres) passOn(heard *pgconn.Notification, wake func(Topic)) {
	origin, topic, _ := strings.Cut(heard.Payload, " ")
	switch topic := Topic(topic); topic {
	case Events, Revocations:
		if origin != p.origin {
			wake(topic)
		}
	}
}
