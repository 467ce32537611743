-- Signing keys that move through their lives.

-- +goose Up

alter table signing_key add column removed_at integer;

-- Only one key is in reserve: two servers that make one at the same moment cannot
-- both win.
create unique index signing_key_published on signing_key (state) where state = 'published';
