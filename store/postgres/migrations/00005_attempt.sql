-- Tries to prove a password, counted so that they can be slowed down.

-- +goose Up

create table attempt (
    key     bytea primary key, -- a keyed hash: no name and no address can be read from it
    count   bigint not null,
    last_at timestamptz not null
);

create index attempt_by_time on attempt (last_at);
