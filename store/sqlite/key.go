package sqlite

import (
	"context"
	"slices"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"
)

// RootKeyChecks implements [innkeeper.RootKeyStore].
func (s *Store) RootKeyChecks(ctx context.Context) ([]rootkey.Check, error) {
	checks, err := readAll(ctx, s.readers, (*row).check, `select check_value from root_key`)
	return checks, wrap("read root key checks", err)
}

func (r *row) check() (check rootkey.Check) {
	r.fixed(check[:])
	return check
}

// AddRootKeyChecks implements [innkeeper.RootKeyStore].
func (s *Store) AddRootKeyChecks(ctx context.Context, checks []rootkey.Check) error {
	const query = `insert into root_key (check_value) values (?) on conflict do nothing`
	err := s.writer.write(ctx, func(c *conn) error {
		known, err := all(c, (*row).check, `select check_value from root_key`)
		if err != nil {
			return err
		}
		ours := func(check rootkey.Check) bool { return slices.Contains(checks, check) }
		if len(known) > 0 && !slices.ContainsFunc(known, ours) {
			return innkeeper.ErrWrongRootKey
		}
		for _, check := range checks {
			if _, err := c.exec(query, check[:]); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("add root key checks", err)
}

// Issuer implements [innkeeper.IssuerStore].
func (s *Store) Issuer(ctx context.Context) (string, error) {
	issuer, _, err := readOne(ctx, s.readers, (*row).text, `select url from issuer where only = 1`)
	return issuer, wrap("read issuer", err)
}

// SetIssuer implements [innkeeper.IssuerStore].
func (s *Store) SetIssuer(ctx context.Context, issuer string) error {
	const query = `insert into issuer (only, url) values (1, ?) on conflict do update set url = excluded.url`
	err := s.writer.writeStatement(ctx, func(c *conn) error {
		_, err := c.exec(query, issuer)
		return err
	})
	return wrap("set issuer", err)
}

// SigningKeys implements [keyring.Store].
func (s *Store) SigningKeys(ctx context.Context) ([]keyring.Record, error) {
	const query = `select key_id, algorithm, state, wrapped, public_jwk, published_at, activated_at, retired_at
from signing_key`
	keys, err := readAll(ctx, s.readers, (*row).signingKey, query)
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
func (s *Store) InitSigningKeys(ctx context.Context, records []keyring.Record) error {
	err := s.writer.write(ctx, func(c *conn) error {
		existing, err := c.one(`select 1 from signing_key limit 1`)
		if err != nil {
			return err
		}
		if existing != nil {
			return keyring.ErrInitialized
		}
		for _, record := range records {
			if err := insertSigningKey(c, record); err != nil {
				return err
			}
		}
		return nil
	})
	return wrap("store signing keys", err)
}

func insertSigningKey(c *conn, record keyring.Record) error {
	const query = `insert into signing_key
    (key_id, algorithm, state, wrapped, public_jwk, published_at, activated_at, retired_at)
values (?, ?, ?, ?, ?, ?, ?, ?)`
	_, err := c.exec(query, record.KeyID, string(record.Algorithm), string(record.State),
		record.Wrapped, string(record.PublicJWK),
		optionalTime(record.PublishedAt), optionalTime(record.ActivatedAt), optionalTime(record.RetiredAt))
	return err
}
