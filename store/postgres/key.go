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

// SigningKeys implements [keyring.Store].
func (s *Store) SigningKeys(ctx context.Context) ([]keyring.Record, error) {
	const query = `
select key_id, algorithm, state, wrapped, public_jwk, published_at, activated_at, retired_at
from signing_key`
	keys, err := readAll(ctx, s, (*row).signingKey, query)
	return keys, wrap("read signing keys", err)
}

func (r *row) signingKey() keyring.Record {
	return keyring.Record{
		KeyID:       r.text(),
		Algorithm:   accesstoken.Algorithm(r.text()),
		State:       keyring.State(r.text()),
		Wrapped:     r.blob(),
		PublicJWK:   []byte(r.text()),
		PublishedAt: r.optionalTime(),
		ActivatedAt: r.optionalTime(),
		RetiredAt:   r.optionalTime(),
	}
}

// InitSigningKeys implements [keyring.Store].
//
// Of several callers at the same moment each may see that there is no key, but
// then all of them number theirs from one, and only the first can.
func (s *Store) InitSigningKeys(ctx context.Context, records []keyring.Record) error {
	const statement = `
insert into signing_key
    (number, key_id, algorithm, state, wrapped, public_jwk, published_at, activated_at, retired_at)
select key.n, key.id, key.algorithm, key.state, key.wrapped, key.public_jwk, key.published, key.activated, key.retired
from unnest(@key_id::text[], @algorithm::text[], @state::text[], @wrapped::bytea[], @public_jwk::text[],
        @published_at::timestamptz[], @activated_at::timestamptz[], @retired_at::timestamptz[])
    with ordinality as key (id, algorithm, state, wrapped, public_jwk, published, activated, retired, n)
where not exists (select from signing_key)
returning 1`
	err := s.writeOr(ctx, keyring.ErrInitialized, statement, signingKeys(records))
	if violates(err, "signing_key_pkey") {
		err = keyring.ErrInitialized
	}
	return wrap("store signing keys", err)
}

func signingKeys(records []keyring.Record) pgx.NamedArgs {
	var id, algorithm, state, public []string
	var wrapped [][]byte
	var published, activated, retired []*time.Time
	for _, record := range records {
		id = append(id, text(record.KeyID))
		algorithm = append(algorithm, string(record.Algorithm))
		state = append(state, string(record.State))
		wrapped = append(wrapped, record.Wrapped)
		public = append(public, text(string(record.PublicJWK)))
		published = append(published, optionalTime(record.PublishedAt))
		activated = append(activated, optionalTime(record.ActivatedAt))
		retired = append(retired, optionalTime(record.RetiredAt))
	}
	return pgx.NamedArgs{
		"key_id": id, "algorithm": algorithm, "state": state, "wrapped": wrapped, "public_jwk": public,
		"published_at": published, "activated_at": activated, "retired_at": retired,
	}
}
