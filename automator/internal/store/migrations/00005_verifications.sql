-- Which images are signed by whom they must be, so that no registry is asked for signatures again after a restart.

-- +goose Up
CREATE TABLE verifications (
    repository TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    rules      TEXT   NOT NULL, -- the hash of the rules and of the keys that they trust: with others nothing here counts
    signers    TEXT   NOT NULL, -- one on each line
    verified   BIGINT NOT NULL, -- microseconds since 1970
    PRIMARY KEY (repository, digest, rules)
);

CREATE INDEX verifications_by_time ON verifications (verified);
