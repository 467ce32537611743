-- Tries to prove a password, counted so that they can be slowed down.

-- +goose Up

create table attempt (
    key     blob    primary key, -- a keyed hash: no name and no address can be read from it
    count   integer not null,
    last_at integer not null
) strict, without rowid;

create index attempt_by_time on attempt (last_at);
