-- The schema of Innkeeper's SQLite store.
--
-- Times are integers: microseconds since 1970, UTC. IDs, hashes and salts are
-- blobs. Lists of names (roles, permissions, methods) are text with one space
-- between them: no such name has a space in it, and they are only ever read as
-- a whole.

-- +goose Up

create table user (
    -- What other tables refer to: shorter and faster to find than the ID.
    -- autoincrement: a number is never given again, so a deleted user's sessions
    -- cannot become somebody else's.
    number        integer primary key autoincrement,
    id            blob    not null unique,
    username      text    not null unique, -- compared byte by byte
    email         text    not null,
    epoch         blob    not null,
    epoch_reason  text    not null,
    disabled      integer not null,
    password_hash text    not null,
    created_at    integer not null,
    updated_at    integer not null
) strict;

create table role (
    name        text primary key,
    permissions text not null
) strict, without rowid;

insert into role (name, permissions) values ('admin', '');

create table user_role (
    user_number integer not null references user (number) on delete cascade,
    role        text    not null references role (name) on delete cascade,
    primary key (user_number, role)
) strict, without rowid;

create index user_role_by_role on user_role (role);

-- One row for the whole life of a session. A refresh updates it in place and
-- touches no indexed column.
--
-- No foreign key to the user: deleting one costs the same however many sessions
-- they have had. The rows stay until they are swept and still name their user.
create table session (
    number             integer primary key,
    id                 blob    not null unique,
    user_number        integer not null,
    user_id            blob    not null,
    epoch              blob    not null,
    secret_hash        blob,             -- null in an ended session: nothing equals it
    generation         integer not null,
    salt               blob    not null,
    recent_keys        blob    not null, -- eight times 16 bytes, the latest first
    rotated_at         integer not null,
    refresh_expires_at integer not null,
    addr               text    not null,
    user_agent         text    not null,
    delivery           text    not null,
    device             text    not null,
    methods            text    not null,
    created_at         integer not null,
    expires_at         integer not null,
    ended_at           integer,          -- null while the session lives
    reason             text    not null
) strict;

create index session_of_user on session (user_number, created_at, id);
create index session_by_end on session (ended_at) where ended_at is not null;
create index session_by_expiry on session (expires_at);

create table event (
    seq        integer primary key,
    at         integer not null,
    kind       text    not null,
    actor      text    not null,
    user_id    blob, -- null: none
    session_id blob, -- null: none
    reason     text    not null,
    addr       text    not null,
    user_agent text    not null,
    detail     text    -- a JSON object; null: none
) strict;

create index event_of_user on event (user_id, seq) where user_id is not null;

create table revocation (
    seq  integer primary key,
    at   integer not null,
    kind text    not null,
    id   text    not null
) strict;

-- What is revoked once stays revoked: nobody has to be told twice.
create unique index revocation_of on revocation (kind, id);
create index revocation_by_time on revocation (at) where kind <> 'key';

-- The last seq of the feed, kept apart from it so that a swept feed goes on
-- counting where it was.
create table revocation_counter (
    only integer primary key check (only = 1),
    last integer not null
) strict;

insert into revocation_counter (only, last) values (1, 0);

create table root_key (
    check_value blob primary key
) strict, without rowid;

-- The URL for which the database is served; no row before the first server.
create table issuer (
    only integer primary key check (only = 1),
    url  text    not null
) strict;

create table signing_key (
    key_id       text primary key,
    algorithm    text not null,
    state        text not null,
    wrapped      blob not null, -- the private half, encrypted under the root key
    public_jwk   text not null,
    published_at integer,
    activated_at integer,
    retired_at   integer
) strict, without rowid;

-- Two servers that start or rotate at the same moment cannot both win.
create unique index signing_key_active on signing_key (state) where state = 'active';
