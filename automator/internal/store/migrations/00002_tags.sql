-- What is known of image repositories, so that a restart neither asks registries for everything again nor forgets a tag
-- that a registry has stopped listing.

-- +goose Up
CREATE TABLE scans (
    repository    TEXT   NOT NULL PRIMARY KEY,
    last_attempt  BIGINT NOT NULL, -- microseconds since 1970, 0 for never
    last_complete BIGINT NOT NULL, -- microseconds since 1970, 0 for never
    last_error    TEXT   NOT NULL
);

CREATE TABLE tags (
    repository TEXT   NOT NULL,
    tag        TEXT   NOT NULL,
    digest     TEXT   NOT NULL, -- empty while nobody asked for it
    first_seen BIGINT NOT NULL, -- microseconds since 1970
    last_seen  BIGINT NOT NULL, -- 0 while it is listed, so that a scan without news rewrites no tag
    PRIMARY KEY (repository, tag)
);
