-- An audit log that can be asked for more than a user, and webhooks.

-- +goose Up

create index event_by_kind on event (kind, seq);
create index event_by_actor on event (actor, seq) where actor <> '';
create index event_of_session on event (session_id, seq) where session_id is not null;
create index event_by_time on event (at);

create table webhook (
    id               bytea primary key,
    url              text not null,
    events           text[] not null, -- the kinds that it is told
    created_at       timestamptz not null,
    secret           bytea not null, -- encrypted under the root key
    old_secret       bytea,          -- the same; null: none
    old_secret_until timestamptz,
    -- How far it has come. Whoever was given the lease last writes this.
    cursor           bigint not null, -- a seq of the audit log, which is the queue
    failures         bigint not null, -- in a row
    rest_until       timestamptz,
    delivered_at     timestamptz,
    failed_at        timestamptz,
    last_error       text not null,
    lease_owner      text not null, -- empty: nobody has had it yet
    lease_until      timestamptz    -- null: it was given back
);

-- What could not be delivered at once: it is gone when it has been.
create table delivery (
    webhook_id bytea not null references webhook (id) on delete cascade,
    id         text collate "C" not null,
    kind       text not null,
    event_at   timestamptz not null,
    body       bytea not null,
    state      text not null, -- pending or dead
    attempts   bigint not null,
    next_at    timestamptz not null,
    tried_at   timestamptz not null,
    last_error text not null,
    primary key (webhook_id, id)
);

create index delivery_by_time on delivery (webhook_id, state, next_at, id);
create index delivery_dead on delivery (tried_at) where state = 'dead';
