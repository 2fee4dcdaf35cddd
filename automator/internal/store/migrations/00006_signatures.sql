-- What registries had about the signatures of images, so that clusters can be given it without a registry being asked.

-- +goose Up
CREATE TABLE signatures (
    repository TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    size       BIGINT NOT NULL, -- what it counts for, in bytes
    seen       BIGINT NOT NULL, -- when it was read from the registry or used, give or take a day; microseconds since 1970
    material   BYTEA  NOT NULL, -- last, so that the others are read without it
    PRIMARY KEY (repository, digest)
);

CREATE INDEX signatures_by_time ON signatures (seen, size);
