-- An audit log that can be asked for more than a user, and webhooks.

-- +goose Up

create index event_by_kind on event (kind, seq);
create index event_by_actor on event (actor, seq) where actor <> '';
create index event_of_session on event (session_id, seq) where session_id is not null;
create index event_by_time on event (at);

create table webhook (
    id               blob    primary key,
    url              text    not null,
    events           text    not null, -- the kinds that it is told, with a space between them
    created_at       integer not null,
    secret           blob    not null, -- encrypted under the root key
    old_secret       blob,             -- the same; null: none
    old_secret_until integer,
    -- How far it has come. Whoever was given the lease last writes this.
    cursor           integer not null, -- a seq of the audit log, which is the queue
    failures         integer not null, -- in a row
    rest_until       integer,
    delivered_at     integer,
    failed_at        integer,
    last_error       text    not null,
    lease_owner      text    not null, -- empty: nobody has had it yet
    lease_until      integer           -- null: it was given back
) strict, without rowid;

-- What could not be delivered at once: it is gone when it has been.
create table delivery (
    webhook_id blob    not null references webhook (id) on delete cascade,
    id         text    not null,
    kind       text    not null,
    event_at   integer not null,
    body       blob    not null,
    state      text    not null, -- pending or dead
    attempts   integer not null,
    next_at    integer not null,
    tried_at   integer not null,
    last_error text    not null,
    primary key (webhook_id, id)
) strict;

create index delivery_by_time on delivery (webhook_id, state, next_at, id);
create index delivery_dead on delivery (tried_at) where state = 'dead';
