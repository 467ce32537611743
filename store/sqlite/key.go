package sqlite

import (
	"context"
	"errors"
	"slices"

	"github.com/innkeeper-auth/innkeeper"
	"github.com/innkeeper-auth/innkeeper/accesstoken"
	"github.com/innkeeper-auth/innkeeper/keyring"
	"github.com/innkeeper-auth/innkeeper/rootkey"

	engine "modernc.org/sqlite"
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

const signingKeyColumns = `key_id, algorithm, state, wrapped, public_jwk, published_at, activated_at, retired_at, removed_at`

// SigningKeys implements [keyring.Store].
func (s *Store) SigningKeys(ctx context.Context) ([]keyring.Record, error) {
	keys, err := readAll(ctx, s.readers, (*row).signingKey, `select `+signingKeyColumns+` from signing_key`)
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
		return insertSigningKeys(c, records)
	})
	return wrap("store signing keys", err)
}

func insertSigningKeys(c *conn, records []keyring.Record) error {
	const query = `insert into signing_key (` + signingKeyColumns + `) values (?, ?, ?, ?, ?, ?, ?, ?, ?)`
	for _, record := range records {
		wrapped := record.Wrapped
		if wrapped == nil {
			wrapped = []byte{} // of a removed key; nil would be NULL
		}
		_, err := c.exec(query, record.KeyID, string(record.Algorithm), string(record.State), wrapped, string(record.PublicJWK),
			optionalTime(record.PublishedAt), optionalTime(record.ActivatedAt), optionalTime(record.RetiredAt), optionalTime(record.RemovedAt))
		if err != nil {
			return err
		}
	}
	return nil
}

// MoveSigningKeys implements [keyring.Store].
func (s *Store) MoveSigningKeys(ctx context.Context, moves keyring.Moves) error {
	err := s.writer.write(ctx, func(c *conn) error {
		// Whoever makes room comes first: only one key may be active at any moment.
		for _, active := range []bool{false, true} {
			for _, step := range moves.Steps {
				if (step.To == keyring.Active) != active {
					continue
				}
				if err := moveSigningKey(c, step); err != nil {
					return err
				}
			}
		}
		err := insertSigningKeys(c, moves.New)
		if violatesUnique(err) {
			return keyring.ErrMoved
		}
		return err
	})
	return wrap("move signing keys", err)
}

func moveSigningKey(c *conn, step keyring.Step) error {
	const query = `update signing_key set
    state        = ?1,
    activated_at = case when ?1 = 'active' then ?2 else activated_at end,
    retired_at   = case when ?1 = 'retiring' then ?2 else retired_at end,
    removed_at   = case when ?1 = 'removed' then ?2 else removed_at end,
    wrapped      = case when ?1 = 'removed' then x'' else wrapped end
where key_id = ?3 and state = ?4`
	moved, err := c.exec(query, string(step.To), step.At, step.KeyID, string(step.From))
	switch {
	case violatesUnique(err):
		return keyring.ErrMoved
	case err == nil && moved == 0:
		return keyring.ErrMoved
	}
	return err
}

// violatesUnique reports whether a unique index or the primary key has refused a
// write.
func violatesUnique(err error) bool {
	const (
		unique  = 2067 // SQLITE_CONSTRAINT_UNIQUE
		primary = 1555 // SQLITE_CONSTRAINT_PRIMARYKEY
	)
	var failed *engine.Error
	return errors.As(err, &failed) && (failed.Code() == unique || failed.Code() == primary)
}

// RewrapSigningKey implements [keyring.Store].
func (s *Store) RewrapSigningKey(ctx context.Context, keyID string, old, wrapped []byte) error {
	err := s.writer.write(ctx, func(c *conn) error {
		changed, err := c.exec(`update signing_key set wrapped = ? where key_id = ? and wrapped = ?`, wrapped, keyID, old)
		if err == nil && changed == 0 {
			err = keyring.ErrMoved
		}
		return err
	})
	return wrap("rewrap signing key", err)
}
