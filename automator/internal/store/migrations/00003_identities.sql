-- Who may call: tokens that can be redeemed, the newest certificate of each identity, and what was revoked. No key and no
-- token is in here. A store that is empty refuses nobody whom the CA has signed.

-- +goose Up
CREATE TABLE tokens (
    hash       TEXT    NOT NULL PRIMARY KEY, -- SHA-256 of the token, hexadecimal
    cluster    TEXT    NOT NULL,
    created    BIGINT  NOT NULL, -- microseconds since 1970
    expires    BIGINT  NOT NULL, -- microseconds since 1970
    replaces   INTEGER NOT NULL, -- 1 when redeeming it revokes what the cluster had
    created_by TEXT    NOT NULL,
    redeemed   BIGINT  NOT NULL, -- microseconds since 1970, 0 for not yet
    key_hash   TEXT    NOT NULL  -- the key it was redeemed for, empty for not yet
);

CREATE INDEX tokens_cluster ON tokens (cluster);

CREATE TABLE identities (
    role      TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    serial    TEXT   NOT NULL, -- of the newest certificate, hexadecimal; empty when none is known
    issued    BIGINT NOT NULL, -- microseconds since 1970
    expires   BIGINT NOT NULL, -- microseconds since 1970
    key_hash  TEXT   NOT NULL,
    authority TEXT   NOT NULL, -- the key of the CA that signed it
    version   TEXT   NOT NULL, -- what the caller said it is
    revoked   BIGINT NOT NULL, -- everything issued until then is refused; 0 when nothing is
    PRIMARY KEY (role, name)
);
