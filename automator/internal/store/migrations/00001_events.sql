-- The event log. Every statement here and in the queries is understood by SQLite and by PostgreSQL alike.
--
-- seq is taken from counters by the transaction that inserts, which holds the counter's row until it commits: events
-- become visible in the order of seq, so that who has read up to n never misses one below n.

-- +goose Up
CREATE TABLE counters (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO counters (name, value) VALUES ('events', 0);

CREATE TABLE events (
    id             BYTEA   NOT NULL PRIMARY KEY,
    seq            BIGINT  NOT NULL UNIQUE,
    arrived        BIGINT  NOT NULL, -- by our clock, microseconds since 1970; what retention goes by
    time           BIGINT  NOT NULL, -- by the clock of the agent that saw it, microseconds since 1970
    state          INTEGER NOT NULL,
    cluster        TEXT    NOT NULL,
    sync_namespace TEXT    NOT NULL,
    sync_name      TEXT    NOT NULL,
    sync_uid       TEXT    NOT NULL,
    commit_id      TEXT    NOT NULL, -- hexadecimal, empty for none
    content_id     TEXT    NOT NULL, -- hexadecimal, empty for none
    payload        BYTEA   NOT NULL  -- tandem.status.v1.Event
);

CREATE INDEX events_time ON events (time, seq);
CREATE INDEX events_cluster ON events (cluster, time, seq);
CREATE INDEX events_sync ON events (sync_namespace, sync_name, time, seq);
CREATE INDEX events_sync_uid ON events (sync_uid, time, seq);
CREATE INDEX events_commit ON events (commit_id, time, seq);
CREATE INDEX events_content ON events (content_id, time, seq);
CREATE INDEX events_state ON events (state, time, seq);

CREATE TABLE event_digests (
    digest TEXT   NOT NULL,
    seq    BIGINT NOT NULL,
    PRIMARY KEY (digest, seq)
);

CREATE INDEX event_digests_seq ON event_digests (seq);

-- Which commits and digests the events of a cluster are about, so that events of no cluster are found by cluster too.
CREATE TABLE cluster_subjects (
    subject  TEXT   NOT NULL, -- commit or digest
    cluster  TEXT   NOT NULL,
    last_seq BIGINT NOT NULL, -- the newest event that says so; the row goes with it
    PRIMARY KEY (subject, cluster)
);

CREATE INDEX cluster_subjects_last_seq ON cluster_subjects (last_seq);
