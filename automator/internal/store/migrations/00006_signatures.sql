-- What registries had about the signatures of images, so that clusters can be given it without a registry being asked.

-- +goose Up
CREATE TABLE signatures (
    repository TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    material   BYTEA  NOT NULL,
    size       BIGINT NOT NULL, -- what it counts for, in bytes
    seen       BIGINT NOT NULL, -- microseconds since 1970
    PRIMARY KEY (repository, digest)
);

CREATE INDEX signatures_by_time ON signatures (seen);
