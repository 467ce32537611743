-- Credentials of services.

-- +goose Up

create table service (
    id           blob primary key,
    name         text    not null,
    scopes       text    not null,
    secret_hash  blob    not null,
    created_at   integer not null,
    last_used_at integer -- null: never
) strict, without rowid;
