-- What the images behind tags say of themselves, so that no image is looked at twice.

-- +goose Up
ALTER TABLE tags ADD COLUMN moved BIGINT NOT NULL DEFAULT 0; -- when the digest was first seen, 0 for as long as the tag
ALTER TABLE tags ADD COLUMN inspected TEXT NOT NULL DEFAULT ''; -- the digest of the image that was looked at
ALTER TABLE tags ADD COLUMN created BIGINT NOT NULL DEFAULT 0; -- microseconds since 1970, 0 if the image does not say
ALTER TABLE tags ADD COLUMN platforms TEXT NOT NULL DEFAULT ''; -- separated by spaces
