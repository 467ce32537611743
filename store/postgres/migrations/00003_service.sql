-- Credentials of services.

-- +goose Up

create table service (
    id           bytea primary key,
    name         text collate "C" not null,
    scopes       text[] not null,
    secret_hash  bytea not null,
    created_at   timestamptz not null,
    last_used_at timestamptz -- null: never
);
