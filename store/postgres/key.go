package postgres

import (
	"context"
	"time"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
	"github.com/jackc/pgx/v5"
)

// RootKeyChecks implements [innkeeper.RootKeyStore].
func (s *Store) RootKeyChecks(ctx context.Context) ([]rootkey.Check, error) {
	checks, err := readAll(ctx, s, (*row).check, `select check_value from root_key`)
	return checks, wrap("read root key checks", err)
}

func (r *row) check() (check rootkey.Check) {
	r.fixed(check[:])
	return check
}

// AddRootKeyChecks implements [innkeeper.RootKeyStore].
//
// Of several callers at the same moment each may see that there is none, but then
// all of them number theirs from one, and only the first can. The others look
// again.
func (s *Store) AddRootKeyChecks(ctx context.Context, checks []rootkey.Check) error {
	const statement = `
with known as (
    select number, check_value from root_key
), ours as (
    select 1 where not exists (select from known) or exists (select from known where check_value = any (@checks::bytea[]))
), added as (
    insert into root_key (number, check_value)
    select (select coalesce(max(number), 0) from known) + row_number() over (), c.value
    from (select distinct unnest(@checks::bytea[]) as value) c
    where exists (select from ours) and c.value not in (select check_value from known)
)
select 1 from ours`
	values := make([][]byte, len(checks))
	for i := range checks {
		values[i] = checks[i][:]
	}
	var err error
	for range maxTries {
		err = s.writeOr(ctx, innkeeper.ErrWrongRootKey, statement, pgx.NamedArgs{"checks": values})
		if !violates(err, "root_key_pkey") && !violates(err, "root_key_check_value_key") {
			break
		}
	}
	return wrap("add root key checks", err)
}

// Issuer implements [innkeeper.IssuerStore].
func (s *Store) Issuer(ctx context.Context) (string, error) {
	issuer, _, err := readOne(ctx, s, (*row).text, `select url from issuer`)
	return issuer, wrap("read issuer", err)
}

// SetIssuer implements [innkeeper.IssuerStore].
func (s *Store) SetIssuer(ctx context.Context, issuer string) error {
	const statement = `insert into issuer (one, url) values (1, @url) on conflict (one) do update set url = excluded.url`
	err := s.write(ctx, statement, pgx.NamedArgs{"url": text(issuer)}, nil)
	return wrap("set issuer", err)
}

const signingKeyColumns = `key_id, algorithm, state, wrapped, public_jwk, published_at, activated_at, retired_at, removed_at`

// SigningKeys implements [keyring.Store].
func (s *Store) SigningKeys(ctx context.Context) ([]keyring.Record, error) {
	keys, err := readAll(ctx, s, (*row).signingKey, `select `+signingKeyColumns+` from signing_key`)
	return keys, wrap("read signing keys", err)
}

func (r *row) signingKey() keyring.Record {
	record := keyring.Record{
		KeyID:       r.text(),
		Algorithm:   accesstoken.Algorithm(r.text()),
		State:       keyring.State(r.text()),
		Wrapped:     r.blob(),
		PublicJWK:   []byte(r.text()),
		PublishedAt: r.optionalTime(),
		ActivatedAt: r.optionalTime(),
		RetiredAt:   r.optionalTime(),
		RemovedAt:   r.optionalTime(),
	}
	if len(record.Wrapped) == 0 {
		record.Wrapped = nil
	}
	return record
}

// newSigningKeys are the keys in the arguments of signingKeys, numbered on from what
// a table holds.
const newSigningKeys = `
    select (select coalesce(max(number), 0) from signing_key) + key.n,
        key.id, key.algorithm, key.state, key.wrapped, key.public_jwk, key.published, key.activated, key.retired, key.removed
    from unnest(@key_id::text[], @algorithm::text[], @state::text[], @wrapped::bytea[], @public_jwk::text[],
            @published_at::timestamptz[], @activated_at::timestamptz[], @retired_at::timestamptz[], @removed_at::timestamptz[])
        with ordinality as key (id, algorithm, state, wrapped, public_jwk, published, activated, retired, removed, n)`

// InitSigningKeys implements [keyring.Store].
//
// Of several callers at the same moment each may see that there is no key, but
// then all of them number theirs from one, and only the first can.
func (s *Store) InitSigningKeys(ctx context.Context, records []keyring.Record) error {
	const statement = `
insert into signing_key (number, ` + signingKeyColumns + `)` + newSigningKeys + `
where not exists (select from signing_key)
returning 1`
	err := s.writeOr(ctx, keyring.ErrInitialized, statement, signingKeys(records))
	if violates(err, "signing_key_pkey") {
		err = keyring.ErrInitialized
	}
	return wrap("store signing keys", err)
}

// moveSigningKeys moves keys and adds new ones, if all of them are in the states
// that they are to leave. Their rows are locked first: whoever comes second waits,
// and then finds other states.
//
// Only one key may be active and one published at any moment of the statement. So
// whoever makes room comes first: each step counts the rows of those before it, and
// cannot begin until they are done.
const moveSigningKeys = `
with asked as (
    select * from unnest(@step_id::text[], @step_from::text[], @step_to::text[], @step_at::timestamptz[])
        as step (key_id, was, becomes, moment)
), held as (
    select k.number, a.becomes, a.moment
    from signing_key k join asked a on a.key_id = k.key_id and a.was = k.state
    order by k.number for update of k
), agreed as (
    select 1 where (select count(*) from held) = (select count(*) from asked)
), departed as (
    update signing_key k set
        state = h.becomes,
        retired_at = case when h.becomes = 'retiring' then h.moment else k.retired_at end,
        removed_at = case when h.becomes = 'removed' then h.moment else k.removed_at end,
        wrapped = case when h.becomes = 'removed' then ''::bytea else k.wrapped end
    from held h
    where k.number = h.number and h.becomes <> 'active' and exists (select from agreed)
    returning 1
), activated as (
    update signing_key k set state = h.becomes, activated_at = h.moment
    from held h
    where k.number = h.number and h.becomes = 'active' and exists (select from agreed)
        and (select count(*) from departed) >= 0
    returning 1
), added as (
    insert into signing_key (number, ` + signingKeyColumns + `)` + newSigningKeys + `
    where exists (select from agreed)
        and (select count(*) from departed) + (select count(*) from activated) >= 0
    returning 1
)
select 1 from agreed`

// MoveSigningKeys implements [keyring.Store].
func (s *Store) MoveSigningKeys(ctx context.Context, moves keyring.Moves) error {
	args := signingKeys(moves.New)
	var id, from, to []string
	var at []time.Time
	for _, step := range moves.Steps {
		id, at = append(id, text(step.KeyID)), append(at, step.At)
		from, to = append(from, string(step.From)), append(to, string(step.To))
	}
	args["step_id"], args["step_from"], args["step_to"], args["step_at"] = id, from, to, at
	err := s.writeOr(ctx, keyring.ErrMoved, moveSigningKeys, args)
	for _, constraint := range []string{
		"signing_key_pkey", "signing_key_key_id_key", "signing_key_active", "signing_key_published",
	} {
		if violates(err, constraint) {
			err = keyring.ErrMoved
		}
	}
	return wrap("move signing keys", err)
}

// RewrapSigningKey implements [keyring.Store].
func (s *Store) RewrapSigningKey(ctx context.Context, keyID string, old, wrapped []byte) error {
	const statement = `update signing_key set wrapped = @wrapped where key_id = @key_id and wrapped = @old returning 1`
	err := s.writeOr(ctx, keyring.ErrMoved, statement, pgx.NamedArgs{"key_id": text(keyID), "old": old, "wrapped": wrapped})
	return wrap("rewrap signing key", err)
}

func signingKeys(records []keyring.Record) pgx.NamedArgs {
	var id, algorithm, state, public []string
	var wrapped [][]byte
	var published, activated, retired, removed []*time.Time
	for _, record := range records {
		id = append(id, text(record.KeyID))
		algorithm = append(algorithm, string(record.Algorithm))
		state = append(state, string(record.State))
		wrapped = append(wrapped, append([]byte{}, record.Wrapped...)) // nil, of a removed key, would be NULL
		public = append(public, text(string(record.PublicJWK)))
		published = append(published, optionalTime(record.PublishedAt))
		activated = append(activated, optionalTime(record.ActivatedAt))
		retired = append(retired, optionalTime(record.RetiredAt))
		removed = append(removed, optionalTime(record.RemovedAt))
	}
	return pgx.NamedArgs{
		"key_id": id, "algorithm": algorithm, "state": state, "wrapped": wrapped, "public_jwk": public,
		"published_at": published, "activated_at": activated, "retired_at": retired, "removed_at": removed,
	}
}
